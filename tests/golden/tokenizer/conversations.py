"""Conversations and tools from which the expected prompts are made (make_chat_golden.py)."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "  Weather of a place, in <b>metric</b> units & \"plain\" words\n",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Ort, z. B. Köln; 東京"},
                "days": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
                "unit": {"type": ["string", "null"], "enum": ["C", "F", None]},
            },
            "required": ["place"],
        },
    },
}
BARE = {"name": "add", "description": "Adds numbers", "strict": True, "weight": 0.5, "tiny": 1e-7, "big": 1e22,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}


def say(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, wrapped=True):
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "id": "c1", "function": function} if wrapped else function


CONVERSATIONS = {
    "one question": [say("user", "Hi there!")],
    "system and question": [say("system", "You are terse.\nVery."), say("user", "Why?")],
    "empty system": [say("system", ""), say("user", "")],
    "several turns": [say("user", "a"), say("assistant", "b"), say("user", "c"), say("assistant", "d"), say("user", "e")],
    "ends with an answer": [say("user", "a"), say("assistant", "b")],
    "second system turn": [say("system", "s"), say("user", "a"), say("system", "t"), say("user", "b")],
    "system turn in the middle only": [say("user", "a"), say("system", "t"), say("user", "b")],
    "no user at all": [say("system", "s"), say("assistant", "<think>\nx\n</think>\n\nb")],
    "unknown role": [say("user", "a"), say("developer", "x"), say("user", "b")],
    "past thoughts are dropped": [
        say("user", "a"), say("assistant", "<think>\nlong thought\n\n</think>\n\nb"), say("user", "c")],
    "last thought is kept": [say("user", "a"), say("assistant", "<think>\n\nthought\n\n</think>\n\n\nb\n")],
    "thought without its opening tag": [say("user", "a"), say("assistant", "thought\n</think>\n\nb")],
    "several think blocks": [
        say("user", "a"), say("assistant", "<think>1</think>x<think>2</think>y"), say("user", "b"),
        say("assistant", "<think>1</think>x<think>2</think>y")],
    "reasoning_content": [
        say("user", "a"), say("assistant", "b", reasoning_content="because\n"), say("user", "c"),
        say("assistant", "d", reasoning_content="\n\nwhy\n")],
    "empty reasoning_content": [say("user", "a"), say("assistant", "<think>t</think>b", reasoning_content="")],
    "null reasoning_content": [say("user", "a"), say("assistant", "<think>t</think>b", reasoning_content=None)],
    "two answers after the question": [
        say("user", "a"), say("assistant", "b", reasoning_content="r"), say("assistant", "c")],
    "a tool call and its answer": [
        say("user", "Weather?"),
        say("assistant", "", reasoning_content="I must look.", tool_calls=[call("get_weather", {"place": "Köln", "days": 2})]),
        say("tool", "{\"rain\": true}")],
    "arguments as text": [
        say("user", "Weather?"), say("assistant", "Looking.", tool_calls=[call("get_weather", "{\"place\": \"X\"}")]),
        say("tool", "dry")],
    "many calls, answers merge": [
        say("system", "s"), say("user", "Weather?"),
        say("assistant", "Two.", tool_calls=[call("get_weather", {"place": "A"}), call("add", {"x": [1, 2.5, -0.0], "y": {}}, False)]),
        say("tool", "one"), say("tool", "two"), say("assistant", "Done."), say("user", "Thanks")],
    "steps of tools keep the thoughts": [
        say("user", "Go"),
        say("assistant", "<think>\nfirst\n</think>\n\n", tool_calls=[call("add", {"a": None, "b": True})]),
        say("tool", "3"),
        say("assistant", "<think>\nsecond\n</think>\n\nhm", tool_calls=[call("add", {"a": "\u2028\t\"\\/é😀", "b": []})]),
        say("tool", "4"), say("assistant", "<think>\nthird\n</think>\n\nIt is 4.")],
    "a user turn that is a tool's answer": [
        say("user", "Go"), say("assistant", "<think>\nx\n</think>\n\ny"),
        say("user", "<tool_response>\n3\n</tool_response>"), say("assistant", "<think>\nz\n</think>\n\nw")],
    "starts with a tool": [say("tool", "t"), say("user", "u")],
    "markup and spaces stay as they are": [
        say("user", "  {{ not.a.template }} {% if %} <|im_end|> <think>\r\n\ttab\u00a0nbsp\x07 ")],
    "other scripts": [say("system", "你是助手。"), say("user", "Что это? 👩‍👩‍👧‍👦 हिन्दी é é")],
}

# Conversations that only templates which guard content against null render.
NULL_CONTENT = {
    "null content beside a tool call": [
        say("user", "Go"), say("assistant", None, tool_calls=[call("add", {"a": 1})]), say("tool", "2")],
    "content as parts": [say("user", [{"type": "text", "text": "x"}]), say("assistant", "y")],
}

TOOLS = {"no tools": None, "empty tools": [], "one tool": [WEATHER], "two tools": [WEATHER, BARE]}
