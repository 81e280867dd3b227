{# The condition holds for every row; null counts as broken. #}
{% test always_true(model, condition) %}
    select *
    from {{ model }}
    where ({{ condition }}) is not true
{% endtest %}
