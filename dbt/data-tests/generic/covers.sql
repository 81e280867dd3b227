{# Every value of `field` in the relation `of` appears in this column. The reverse of `relationships`: it belongs to
   the dimension, which is built after the facts. #}
{% test covers(model, column_name, of, field) %}
    select distinct facts.{{ field }}
    from {{ of }} as facts
    where facts.{{ field }} not in (select {{ column_name }} from {{ model }})
{% endtest %}
