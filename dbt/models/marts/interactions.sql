{{
    config(
        materialized='incremental',
        incremental_strategy='replace_window',
        on_schema_change='fail',
        meta={'order_by': 'event_day, user_id, event_at, source_order, event_id'}
    )
}}

with

events as (

    select * from {{ ref('int_events_sessionized') }}
    where {{ in_window() }}

),

event_types as (

    select * from {{ source('raw', 'event_types') }}

),

final as (

    select
        -- ids
        events.event_id,
        events.user_id,
        events.item_id,

        -- what and when
        events.event_type,
        events.event_at,
        events.event_day,
        event_types.weight,
        events.value,
        events.session_id,
        events.source_order
    from events
    inner join event_types on events.event_type = event_types.event_type
    where event_types.weight > 0

)

select * from final
order by event_day, user_id, event_at, source_order, event_id
