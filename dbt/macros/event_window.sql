{# The days to build come as dbt's own `--event-time-start` and `--event-time-end` (exclusive): unlike `--vars`
   they do not force a full parse. Without them a model is rebuilt whole. #}

{# One bound of the window as a date, or none. #}
{% macro window_bound(name) -%}
    {%- set bound = invocation_args_dict.get(name, invocation_args_dict.get(name | upper)) -%}
    {%- if bound and bound.strftime('%H%M%S%f') != '000000000000' -%}
        {%- do exceptions.raise_compiler_error(
            '--' ~ name | replace('_', '-') ~ ' must be midnight UTC, not ' ~ bound ~ ': models are built by whole days'
        ) -%}
    {%- endif -%}
    {{ return(bound.strftime('%Y-%m-%d') if bound else none) }}
{%- endmacro %}

{# Condition that keeps the days of the window. #}
{% macro in_window(day_column='event_day') -%}
    {%- set start, end = window_bound('event_time_start'), window_bound('event_time_end') -%}
    {%- if start and end -%}
        {{ day_column }} >= date '{{ start }}' and {{ day_column }} < date '{{ end }}'
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# Incremental strategy: one delete and one insert for the whole window, in one transaction. The rows go in in the
   order of the model's `meta.order_by`, so that building a day twice gives equal rows in equal order. #}
{% macro get_incremental_replace_window_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set order_by = config.get('meta', {}).get('order_by') -%}
    {%- if not order_by -%}
        {%- do exceptions.raise_compiler_error(this.identifier ~ ' needs meta.order_by, the order of its rows') -%}
    {%- endif -%}
    delete from {{ arg_dict['target_relation'] }} where {{ in_window() }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }} order by {{ order_by }}
{%- endmacro %}
