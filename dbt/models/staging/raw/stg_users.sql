with

source as (

    select * from {{ source('raw', 'users') }}

),

latest as (

    -- A version without a time is older than any with one; among equals the one that arrived last is true.
    select *
    from source
    qualify row_number() over (
        partition by user_id
        order by
            updated_at desc nulls last,
            ingested_at desc,
            source_file desc,
            source_row desc,
            content_hash desc
    ) = 1

),

renamed as (

    select
        user_id,
        nullif(trim(age_band), '') as age_band,
        nullif(trim(region), '') as region,
        attributes,
        updated_at
    from latest

)

select * from renamed
