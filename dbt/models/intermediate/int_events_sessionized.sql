{{ config(meta={'order_by': 'event_day, user_id, event_at, source_order, event_id'}) }}

with

events as (

    select * from {{ ref('int_events_filtered') }}
    where {{ in_window() }}

),

-- Partitioned by day: midnight UTC ends a session, so that one day never touches another.

spaced as (

    select
        *,
        lag(event_at) over (
            partition by user_id, event_day
            order by event_at, source_order, event_id
        ) as previous_at
    from events

),

started as (

    select
        *,
        previous_at is null
        or event_at > previous_at + to_minutes({{ domain_rule('session_gap_minutes') }}) as is_session_start
    from spaced

),

numbered as (

    select
        *,
        max(event_at) filter (where is_session_start) over (
            partition by user_id, event_day
            order by event_at, source_order, event_id
        ) as session_started_at
    from started

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
        source_order,
        md5(user_id || '|' || strftime(session_started_at, '%Y-%m-%dT%H:%M:%S.%f')) as session_id,
        is_session_start
    from numbered

)

select * from final
order by event_day, user_id, event_at, source_order, event_id
