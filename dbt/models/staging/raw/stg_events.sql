with

source as (

    select * from {{ source('raw', 'events') }}

),

renamed as (

    select
        -- ids
        event_id,
        user_id,
        item_id,
        session_id as source_session_id,

        -- what
        event_type,
        value,
        query,
        surface,
        attributes,

        -- when
        event_at,
        event_day,
        source_order

    from source

)

select * from renamed
