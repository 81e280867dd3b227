with

users as (

    select * from {{ ref('stg_users') }}

),

interactions as (

    select
        user_id,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        count(*) as count_interactions
    from {{ ref('interactions') }}
    group by user_id

),

final as (

    select
        coalesce(users.user_id, interactions.user_id) as user_id,
        case {{ domain_rule('segment_by') }}
            when 'age_band' then users.age_band
            when 'region' then users.region
        end as segment,
        users.age_band,
        users.region,
        interactions.first_event_at,
        interactions.last_event_at,
        coalesce(interactions.count_interactions, 0) as count_interactions
    from users
    full join interactions on users.user_id = interactions.user_id

)

select * from final
order by user_id
