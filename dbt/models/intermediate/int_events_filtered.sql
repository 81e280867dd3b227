{{ config(meta={'order_by': 'event_day, user_id, event_at, source_order, event_id'}) }}

with

events as (

    select * from {{ ref('int_events_deduplicated') }}
    where {{ in_window() }}

),

counted as (

    select
        *,
        count(*) over (partition by user_id, event_day) as count_events_of_day
    from events

),

final as (

    select
        event_id,
        user_id,
        item_id,
        event_type,
        event_at,
        event_day,
        value,
        source_order
    from counted
    where
        {{ domain_rule('bot_events_per_day') }} = 0
        or count_events_of_day <= {{ domain_rule('bot_events_per_day') }}

)

select * from final
order by event_day, user_id, event_at, source_order, event_id
