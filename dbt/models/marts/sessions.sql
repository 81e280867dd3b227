{{
    config(
        materialized='incremental',
        incremental_strategy='replace_window',
        on_schema_change='fail',
        meta={'order_by': 'event_day, user_id, started_at, session_id'}
    )
}}

with

events as (

    select * from {{ ref('int_events_sessionized') }}
    where {{ in_window() }}

),

interactions as (

    select * from {{ ref('interactions') }}
    where {{ in_window() }}

),

joined as (

    select
        events.session_id,
        events.user_id,
        events.event_day,
        events.event_at,
        interactions.event_id,
        interactions.item_id
    from events
    left join interactions
        on
            events.event_day = interactions.event_day
            and events.event_id = interactions.event_id

),

final as (

    select
        session_id,
        user_id,
        event_day,
        min(event_at) as started_at,
        max(event_at) as ended_at,
        count(event_id) as count_interactions,
        count(distinct item_id) as count_items
    from joined
    group by session_id, user_id, event_day
    having count(event_id) > 0

)

select * from final
order by event_day, user_id, started_at, session_id
