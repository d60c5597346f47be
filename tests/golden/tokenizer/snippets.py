"""Small templates, one feature each. They see the conversation MESSAGES, no tools, and the variable eos_token."""

MESSAGES = [
    {"role": "system", "content": "Be <brief> & \"kind\"."},
    {"role": "user", "content": "  Hé, 世界!\n", "tags": ["b", "a", "c"], "score": 3, "ratio": 0.25, "ok": True, "extra": None},
    {"role": "assistant", "content": "a</think>b", "nested": {"x": {"y": [1, [2, 3], {"z": "w"}]}, "n": -7}},
]

SNIPPETS = [
    # output of values
    "{{ 1 }} {{ -1 }} {{ 1.0 }} {{ 0.1 }} {{ 1e3 }} {{ 1e16 }} {{ 1.5e-7 }} {{ 123456789012345678 }} {{ 1_000 }}",
    "{{ true }} {{ false }} {{ none }} {{ True }} {{ None }} {{ missing }}|{{ 'x' }}",
    "{{ [1, 'a', none, true, 1.5, [2], (3,), (), {}] }} {{ {'a': 1, 'b': [\"it's\", 'q\"q', 'both\\'\"']} }} {{ (1, 2) }}",
    "{{ ['\\n', '\\t', '\\\\', '\\x07', 'é', '\\u200b', '😀', '\\xa0'] }}", "{{ 'a' 'b' \"c\" }}", "{{ '\\u00e9\\x41\\101\\d' }}", "{{ 1, 2 }}",
    "{{ messages[1].ratio }} {{ messages[1].score }} {{ messages[1].ok }} {{ messages[1].extra }} {{ messages[2].nested }}",
    # operators
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 1 + 1.5 }} {{ true + true }} {{ 'ab' * 3 }} {{ 2 * 'x' }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.5 ~ missing }} {{ 'a' ~ 1 + 2 }}", "{{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }}", "{{ 'a' + 1 }}", "{{ [1] + (2,) }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] == [1, 2] }} {{ (1,) == [1] }}",
    "{{ {'a': 1} == {'a': 1} }} {{ none == none }} {{ missing == missing2 }} {{ missing == none }} {{ 1 != 2 }} {{ 2 >= 2 }} {{ 2 <= 1 }} {{ 2 > 1 }}",
    "{{ 'a' in 'cat' }} {{ 'a' not in 'cat' }} {{ 1 in [1, 2] }} {{ 'x' in {'x': 1} }} {{ 'x' in missing }} {{ not 'x' in ['y'] }}", "{{ 1 in 'a' }}", "{{ 'a' in none }}", "{{ 1 < 'a' }}",
    "{{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 'x' }} {{ '' or none }} {{ not 0 }} {{ not [] }} {{ not not 'a' }} {{ 1 or missing.x }}",
    "{{ 'y' if 1 else 'n' }} {{ 'y' if 0 else 'n' }} {{ 'y' if 0 }}| {{ 'a' if 0 else 'b' if 0 else 'c' }} {{ ('y' if 0) is defined }}",
    "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ 1.0 / 0 }}", "{{ -missing }}", "{{ missing + 'a' }}", "{{ missing.a }}", "{{ missing.a.b }}", "{{ missing['a'] }}",
    # access
    "{{ messages[0].role }} {{ messages[0]['role'] }} {{ messages[-1].role }} {{ messages[9] }}| {{ messages[1].nope }}| {{ messages[1].tags[0] }}",
    "{{ messages[2].nested.x.y[1][0] }} {{ messages[2]['nested']['x'].y[2].z }} {{ 'abc'[1] }} {{ 'abc'[-1] }} {{ 'äöü'[1] }} {{ 'abc'[7] }}|", "{{ messages.nope }}|", "{{ 'abc'.nope }}|",
    "{{ 'abcdef'[1:3] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[::2] }} {{ 'abcdef'[-2:] }} {{ 'abcdef'[:-2] }} {{ 'abcdef'[4:1:-1] }} {{ 'abcdef'[10:] }}| {{ 'äöü'[1:] }}",
    "{{ [1, 2, 3, 4][1:] }} {{ [1, 2, 3][::-1] }} {{ [1, 2, 3][:1] }} {{ (1, 2, 3)[1:] }} {{ [1, 2, 3][-1:-3:-1] }} {{ [1, 2, 3][none:2] }}", "{{ [1][::0] }}", "{{ missing[1:] }}",
    # statements
    "{% if missing %}a{% elif none %}b{% elif 0 %}c{% else %}d{% endif %}", "{% if 1 %}{% if 0 %}a{% else %}b{% endif %}{% endif %}", "{% set x = 1 %}{% if x %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% for i in [1, 2, 3] %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}", "{% for i in [] %}x{% else %}empty{% endfor %}", "{% for i in missing %}x{% else %}empty{% endfor %}",
    "{% for c in 'añ😀' %}[{{ c }}]{% endfor %}", "{% for k in {'b': 1, 'a': 2} %}{{ k }}{% endfor %}", "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in {'b': 1}|items %}{{ k }}={{ v }}{% endfor %}", "{% for (a, b) in [(1, 2), [3, 4]] %}{{ a }}{{ b }};{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for i in [1, 2, 3, 4] if i % 2 == 0 %}{{ i }}{{ loop.index }}{{ loop.length }}{% endfor %}", "{% for i in [1, 2] if i > 5 %}x{% else %}none{% endfor %}",
    "{% for i in 'abc' %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }};{{ loop.previtem is defined }}{% endfor %}", "{% for i in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in [1, 2] %}{% for j in [1, 2] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }}{% endfor %}{% endfor %}",
    "{% for i in 5 %}{% endfor %}", "{% for i in none %}{% endfor %}", "{% for i in [1, 2] %}{% set x = i %}{% endfor %}{{ x }}|", "{% set x = 0 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0, s='') %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }}{{ ns.s }}{{ ns.nope }}|", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}",
    "{% set x.y = 1 %}", "{% set d = {} %}{% set d.y = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set t = 1, 2 %}{{ t }}", "{% set x %}a{{ 1 }}\n b{% endset %}[{{ x }}]", "{% set x %}{% set y = 1 %}{% endset %}{{ y }}|",
    "{% macro m(a, b='x') %}<{{ a }}|{{ b }}>{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}{{ m('q') | upper }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(c=2) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% set g = 1 %}{% macro m() %}{{ g }}{{ l }}{% endmacro %}{% for l in [5] %}{{ m() }}{% endfor %}|", "{% macro m() %}{% set z = 1 %}{{ z }}{% endmacro %}{{ m() }}{{ z }}|",
    "{{ m() }}{% macro m() %}{% endmacro %}", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% generation %}x{% set y = 1 %}{{ y }}{% endgeneration %}{{ y }}|",
    # white space
    "a\n  {% if 1 %}\n  b\n  {% endif %}\n  c\n", "a\n{%- if 1 -%}\n b \n{%- endif -%}\n c", "a  {{- 1 -}}  b {{ 2 }}\n  c", "a\n  {# note #}\n  b {# x #} c\n{#- y -#}\nd", "a {%+ if 1 %} b{% endif %}\n\nc", "  {%+ if 1 +%}\n b{% endif +%}\nc",
    "\n\n a \n\n", "a\n", "a\n\n", "a\r\nb\rc\n", "{% set x = 'a\r\nb' %}{{ x }}", "  {{ 1 }}\n  {{ 2 }}\n", "{% if 1 %}\n\n\nx{% endif %}", "x {% raw %} {{ no }} {% if %} {% endraw %} y", "{% raw -%}  a {%- endraw %} b", "a\n  {% raw %}\n b\n  {% endraw %}\n c",
    "\t{% if 1 %}\tx\t{% endif %}\t\n", "{{ '}}' }}{{ '{%' }}{{ \"%}\" }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "}} %} #} { % {", "{", "a{", "{# a {{ b #}c", "\u00a0{%- if 1 %}\u2003{%- endif %}\u00a0x",
    # filters
    "{{ [1, 'é', none, true, 1.0, {'k': '<&>\\'\"\\n\\u0001\\x7f'}] | tojson }}", "{{ messages[2].nested | tojson }}", "{{ {'a': [], 'b': {}, 'c': [1, {'d': 2}]} | tojson(indent=2) }}", "{{ missing | tojson }}", "{{ (1, 2) | tojson }}", "{{ 1e22 | tojson }} {{ 1.0e-5 | tojson }}",
    "{{ 'äöü' | length }} {{ [1, 2] | length }} {{ {'a': 1} | count }} {{ missing | length }}", "{{ 5 | length }}", "{{ none | length }}", "[{{ '  a b \\n' | trim }}] [{{ 'xxaxx' | trim('x') }}] [{{ 5 | trim }}]",
    "{{ 5 | string + 'a' }} {{ [1] | string }} {{ none | string }} {{ missing | string }}|", "{{ [3, 1] | first }} {{ [3, 1] | last }} {{ 'abc' | first }} {{ [] | first }}| {{ [] | last }}|", "{{ [1, 'a', none] | join }} {{ [1, 2] | join(', ') }} {{ 'abc' | join('-') }} {{ messages | join('|', attribute='role') }}",
    "{{ missing | default('x') }} {{ none | default('x') }} {{ '' | default('x', true) }} {{ 0 | d(5, boolean=true) }} {{ missing | default }}|", "{{ {'a': 1} | items | list }} {{ 'ab' | list }} {{ missing | list }} {{ missing | items | list }}",
    "{{ 'aé ß' | upper }} {{ 'AÉ' | lower }} {{ 'hello wORLD' | capitalize }} {{ 'hello world' | title }}", "{{ 'aaa' | replace('a', 'b') }} {{ 'aaa' | replace('a', 'b', 2) }} {{ 'ab' | replace('', '-') }}", "{{ '42' | int }} {{ '4x' | int }} {{ 3.9 | int }} {{ '2.5' | float }} {{ 'x' | float(1.5) }} {{ -3 | abs }} {{ ' 7 ' | int }}",
    "{{ [1, 2] | reverse | list }} {{ 'abc' | reverse }}", "{{ '<b>' | safe }}", "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(width=1, blank=true) }}", "{{ [1, 2] | map('string') | list }} {{ messages | map(attribute='role') | list }} {{ messages | map(attribute='score', default=0) | list }}",
    "{{ [0, 1, 2, none] | select | list }} {{ [1, 2, 3] | select('odd') | list }} {{ [1, 2, 3] | reject('odd') | list }} {{ [1, 5] | select('gt', 3) | list }}", "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | selectattr('tags') | list | length }} {{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | first }}",
    "{{ 'a' | upper | lower | length }}", "{{ 'x' ~ 'ab' | upper }}", "{{ -1 | abs }}", "{{ 'a,b' | upper ~ 'c' }}", "{{ (1, 2) | list }} {{ messages[1].tags | join(',') }}", "{{ [[1, 2], [3]] | map('length') | list }}",
    # tests
    "{{ missing is defined }} {{ missing is undefined }} {{ messages is defined }} {{ messages[0].nope is defined }} {{ messages[0].role is not defined }}", "{{ none is none }} {{ 0 is none }} {{ 1 is not none }} {{ missing is none }}",
    "{{ 'a' is string }} {{ 1 is string }} {{ 1 is number }} {{ 1.5 is number }} {{ true is number }} {{ 'a' is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ 1 is float }} {{ true is boolean }} {{ 1 is boolean }}",
    "{{ {} is mapping }} {{ [] is mapping }} {{ [] is sequence }} {{ 'a' is sequence }} {{ {} is sequence }} {{ 1 is sequence }} {{ [] is iterable }} {{ 'a' is iterable }} {{ none is iterable }} {{ missing is iterable }} {{ missing is sequence }} {{ missing is mapping }}",
    "{{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }} {{ none is false }}", "{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is in [1] }} {{ 1 is eq 1 }} {{ 1 is ne(2) }} {{ 2 is gt 1 }} {{ 1 is lt(1) }} {{ 1 is equalto 1.0 }}",
    "{{ 1 is none or 1 is defined and true }} {{ not 1 is none }} {{ 'a' is string and 'b' is not string }} {{ 5 is divisibleby 5 and true }}", "{{ 'a' is odd }}",
    # methods
    "{{ 'abc'.startswith('a') }} {{ 'abc'.endswith('bc') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.startswith('') }}", "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.split(none, 1) }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a--b'.split('--') }} {{ 'a,b,c'.rsplit(',', 1) }}",
    "{{ 'a'.split('') }}", "{{ 'a'.split(1) }}", "[{{ '  a '.strip() }}] [{{ 'xyaxy'.strip('xy') }}] [{{ '\\n\\na\\n'.lstrip('\\n') }}] [{{ 'a\\n \\n'.rstrip() }}] [{{ '\\u3000a\\u00a0'.strip() }}] [{{ 'éaé'.strip('é') }}]", "{{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }}",
    "{{ 'aB'.upper() }} {{ 'aB'.lower() }} {{ 'aB c'.title() }} {{ 'aB'.capitalize() }} {{ 'abcb'.find('b') }} {{ 'äb'.find('b') }} {{ 'a'.find('z') }} {{ 'abab'.count('ab') }} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ '-'.join(['a', 'b']) }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }}",
    "{{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 2) }} {{ {'a': 1}.keys() | list }} {{ {'a': 1}.values() | list }} {{ {'a': 1}.items() | list }}", "{{ messages[0].get('role') }} {{ messages[0].content.split('<')[0].strip() }}", "{{ [1, 1, 2].count(1) }}",
    "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}", "{{ messages.upper() }}", "{{ none.strip() }}", "{{ missing.strip() }}", "{{ '-'.join([1]) }}",
    # functions
    "{{ range(3) | list }} {{ range(1, 4) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }}", "{{ range(1, 2, 0) }}", "{{ dict(a=1, b='x') }}", "{{ raise_exception('no ' ~ 1) }}", "{{ eos_token }}", "{{ tools is none }} {{ documents is none }} {{ add_generation_prompt }} {{ enable_thinking is defined }}",
    # scoping of names
    "{% set messages = [] %}{{ messages | length }}", "{% for message in messages %}{% set content = message.content %}{% if loop.first %}{% set content = 'X' %}{% endif %}{{ content | length }};{% endfor %}", "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}",
    "{% set tool = {'f': {'f': 1}} %}{% for i in [1] %}{% set tool = tool.f %}{{ tool }}{% endfor %}{{ tool }}", "{% for loop_ in [1] %}{{ loop.index }}{% for q in [7, 8] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    # syntax errors
    "{{ 1 + }}", "{% if %}{% endif %}", "{% if 1 %}", "{% endif %}", "{{ 'abc }}", "{{ (1 }}", "{{ 1 ) }}", "{% for in x %}{% endfor %}", "{# x", "{% raw %}x", "{{ a b }}", "{{ a. }}", "{{ 1 | }}", "{% set = 1 %}", "{% nope %}", "{{ a ? b }}", "{% for i in [1] %}{% endif %}", "{% break %}", "{% else %}", "{{ f(a=1, 2) }}", "{{ x is }}", "{{", "{%", "{{ [1, 2 }}",
]
