{{
    config(
        materialized='incremental',
        incremental_strategy='replace_window',
        on_schema_change='fail',
        meta={'order_by': 'event_day, user_id, event_at, source_order, event_id'}
    )
}}

with

-- As they were sent: a repeat hides nothing more, and a wish counts however busy the day was.

events as (

    select * from {{ ref('stg_events') }}
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
        events.source_order
    from events
    inner join event_types on events.event_type = event_types.event_type
    where event_types.weight < 0

)

select * from final
order by event_day, user_id, event_at, source_order, event_id
