{# Decode the HTML entities that catalogues carry, trim, and make an empty text null. Applied once: `&amp;lt;`
   becomes `&lt;`, hence the ampersand goes last. #}
{% macro html_unescape(column) -%}
    {%- set characters = {
        'quot|#34|#x22': '"',
        'apos|#0*39|#x27': "''",
        'rsquo|#8217': '’',
        'lt|#60': '<',
        'gt|#62': '>',
        'nbsp|#160': ' ',
        'reg|#174': '®',
        'trade|#8482': '™',
        'eacute|#233': 'é',
        'ndash|#8211': '–',
        'hellip|#8230': '…',
        'amp|#38': '&',
    } -%}
    {%- set decoded = namespace(sql=column) -%}
    {%- for names, character in characters.items() -%}
        {%- set decoded.sql = "regexp_replace(" ~ decoded.sql ~ ", '&(" ~ names ~ ");', '" ~ character ~ "', 'g')" -%}
    {%- endfor -%}
    nullif(trim({{ decoded.sql }}), '')
{%- endmacro %}
