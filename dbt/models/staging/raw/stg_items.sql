with

source as (

    select * from {{ source('raw', 'items') }}

),

latest as (

    -- A version without a time is older than any with one; among equals the one that arrived last is true.
    select *
    from source
    qualify row_number() over (
        partition by item_id
        order by
            updated_at desc nulls last,
            ingested_at desc,
            source_file desc,
            source_row desc,
            content_hash desc
    ) = 1

),

cleaned as (

    select
        -- ids
        item_id,

        -- texts
        {{ html_unescape('title') }} as title,
        {{ html_unescape('description') }} as description,
        list_filter(
            list_transform(categories, lambda category: {{ html_unescape('category') }}),
            lambda category: category is not null
        ) as categories,
        {{ html_unescape('brand_or_author') }} as brand_or_author,
        attributes,
        image_uri,

        -- numbers
        price,
        currency,

        -- times
        available_from,
        available_until,
        updated_at

    from latest

)

select * from cleaned
