{{
    config(
        materialized='incremental',
        incremental_strategy='replace_window',
        on_schema_change='fail',
        meta={'order_by': 'event_day, item_id'}
    )
}}

with

interactions as (

    select * from {{ ref('interactions') }}
    where {{ in_window() }}

),

final as (

    select
        item_id,
        event_day,
        count(*) as count_interactions,
        count(distinct user_id) as count_users,
        -- Ordered: a sum of floating-point numbers depends on their order in its last bits.
        sum(weight order by weight) as sum_weight
    from interactions
    group by item_id, event_day

)

select * from final
order by event_day, item_id
