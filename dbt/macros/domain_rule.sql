{# One number of the configured domain. Fails loudly where the domain was not written, or was written twice. #}
{% macro domain_rule(column) -%}
    (
        select
            case
                when count(*) = 1 then max({{ column }})
                else error('raw.domain_rules must hold one row: ingest with a domain first')
            end
        from {{ source('raw', 'domain_rules') }}
    )
{%- endmacro %}
