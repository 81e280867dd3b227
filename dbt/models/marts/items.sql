with

items as (

    select * from {{ ref('stg_items') }}

),

interactions as (

    select
        item_id,
        min(event_at) as first_event_at,
        count(*) as count_interactions
    from {{ ref('interactions') }}
    group by item_id

),

final as (

    select
        -- ids
        items.item_id,

        -- texts
        items.title,
        items.description,
        items.categories,
        items.categories[-1] as category,
        items.brand_or_author,

        -- price
        items.price,
        items.currency,

        -- times
        items.available_from,
        items.available_until,
        items.updated_at,

        -- behaviour
        interactions.first_event_at,
        coalesce(interactions.count_interactions, 0) as count_interactions
    from items
    left join interactions on items.item_id = interactions.item_id

)

select * from final
order by item_id
