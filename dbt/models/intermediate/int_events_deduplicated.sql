{{ config(meta={'order_by': 'event_day, user_id, event_at, source_order, event_id'}) }}

with

events as (

    select * from {{ ref('stg_events') }}
    where {{ in_window() }}

),

spaced as (

    select
        *,
        lag(event_at) over (
            partition by user_id, item_id, event_type, event_day
            order by event_at, source_order, event_id
        ) as previous_at
    from events

),

distinct_events as (

    select * from spaced
    where
        previous_at is null
        or {{ domain_rule('duplicate_window_seconds') }} = 0
        or event_at > previous_at + to_seconds({{ domain_rule('duplicate_window_seconds') }})

),

-- Cancellations take units back from the purchases of the same user, item and day before them, the latest first.
-- The stock of units in the user's hands rises with a purchase and falls with a cancellation, never below zero; of
-- a purchase remains what the stock never falls below again.

units_moved as (

    select
        event_id,
        user_id,
        item_id,
        event_type,
        event_day,
        -- Without a quantity a purchase is one unit, and a cancellation takes back all.
        case event_type
            when 'purchase' then coalesce(abs(value), 1)
            else -coalesce(
                abs(value),
                sum(coalesce(abs(value), 1)) filter (where event_type = 'purchase') over (
                    partition by user_id, item_id, event_day
                ),
                0
            )
        end as units,
        row_number() over (
            partition by user_id, item_id, event_day
            order by event_at, source_order, event_id
        ) as turn
    from distinct_events
    where event_type in ('purchase', 'cancel')

),

units_summed as (

    select
        *,
        sum(units) over (partition by user_id, item_id, event_day order by turn) as units_so_far
    from units_moved

),

stocked as (

    select
        *,
        units_so_far - least(
            0, min(units_so_far) over (partition by user_id, item_id, event_day order by turn)
        ) as stock
    from units_summed

),

netted as (

    select
        event_id,
        units,
        min(stock) over (
            partition by user_id, item_id, event_day
            order by turn
            rows between current row and unbounded following
        ) - lag(stock, 1, 0) over (partition by user_id, item_id, event_day order by turn) as units_left
    from stocked
    qualify event_type = 'purchase'

),

final as (

    select
        distinct_events.event_id,
        distinct_events.user_id,
        distinct_events.item_id,
        distinct_events.event_type,
        distinct_events.event_at,
        distinct_events.event_day,
        case
            when netted.units_left < netted.units then netted.units_left
            else distinct_events.value
        end as value,
        distinct_events.source_order
    from distinct_events
    left join netted on distinct_events.event_id = netted.event_id
    where
        distinct_events.event_type != 'cancel'
        and (netted.event_id is null or netted.units_left > 0)

)

select * from final
order by event_day, user_id, event_at, source_order, event_id
