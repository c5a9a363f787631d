"""A model for tests of real agents: it answers by a script, on a port of the loopback, without any network.

The last line of the user's that begins with `RUN ` makes it call the agent's shell tool once with the rest of that line;
when the result is there, it repeats the beginning of it. Anything else is answered with `hello`. It speaks as much as the
agents need of four interfaces: Anthropic's messages, OpenAI's responses and chat, and Gemini's.
"""

import http.server
import json
import re
import sys

SHELLS = ("Bash", "exec_command", "run_shell_command", "bash", "shell")


def words(content):
    """All text of a message, whatever its form."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return words(content.get("text") or content.get("content") or content.get("output"))
    return "\n".join(map(words, content)) if isinstance(content, list) else ""


def decide(turns, tools):
    """`turns` are (who, text), who is `user`, `call` or `tool`; gives a text, or a tool and its arguments."""
    command, result = None, ""
    for who, text in turns:
        lines = re.findall(r"^\"?RUN (.+?)\"?$", text, re.M) if who == "user" else []
        if lines:
            command = lines[-1].strip()
        if who == "tool":
            result = text
    # Some agents say a task again behind what came of it.
    called = any(who == "call" and command in text for who, text in turns if command)
    if command is None:
        return "hello", None
    if called:
        return "result: " + " ".join(result.split())[:300], None
    name = next((it for it in SHELLS if it in tools), None)
    if name is None:
        return "no shell among " + ", ".join(tools)[:300], None
    if name == "exec_command":
        wanted = {"cmd": command, "sandbox_permissions": "require_escalated", "justification": "a test"}
    elif name == "shell":
        wanted = {"command": command}
    else:
        wanted = {"command": command, "description": "a test"}
    return name, wanted


def messages(body):
    turns = []
    for it in body["messages"]:
        parts = it["content"] if isinstance(it["content"], list) else [{"type": "text", "text": it["content"]}]
        for part in parts:
            if part.get("type") == "tool_result":
                turns.append(("tool", words(part.get("content"))))
            elif part.get("type") == "tool_use":
                turns.append(("call", json.dumps(part.get("input"))))
            elif it["role"] == "user":
                turns.append(("user", words(part)))
    text, wanted = decide(turns, [it["name"] for it in body.get("tools") or []])
    if wanted is None:
        begin, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": text}
    else:
        begin = {"type": "tool_use", "id": "toolu_%d" % len(turns), "name": text, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(wanted)}
    usage = {"input_tokens": 1, "output_tokens": 1}
    stop = {"stop_reason": "end_turn" if wanted is None else "tool_use", "stop_sequence": None}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [], "usage": usage}
    if not body.get("stream"):
        whole = {"type": "text", "text": text} if wanted is None else {**begin, "input": wanted}
        return {**message, **stop, "content": [whole]}
    nothing = {"stop_reason": None, "stop_sequence": None}
    return [
        {"type": "message_start", "message": {**message, **nothing}},
        {"type": "content_block_start", "index": 0, "content_block": begin},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": usage},
        {"type": "message_stop"},
    ]


def responses(body):
    turns, tools = [], []
    asked = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    for it in asked:
        if str(it.get("type", "")).endswith("_call_output"):
            turns.append(("tool", words(it.get("output"))))
        elif it.get("type") == "function_call":
            turns.append(("call", it.get("arguments") or ""))
        elif it.get("role") == "user":
            turns.append(("user", words(it.get("content"))))
    for it in body.get("tools") or []:
        tools += [one.get("name") for one in it.get("tools") or [it]]
    text, wanted = decide(turns, tools)
    if wanted is None:
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    else:
        call = "call_%d" % len(turns)
        item = {"type": "function_call", "id": "fc_1", "call_id": call, "name": text, "arguments": json.dumps(wanted)}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    whole = {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": usage}
    return [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]


def chat(body):
    turns = []
    for it in body["messages"]:
        turns += [("call", call["function"]["arguments"]) for call in it.get("tool_calls") or []]
        if it["role"] in ("user", "tool"):
            turns.append((it["role"], words(it.get("content"))))
    tools = [it["function"]["name"] for it in body.get("tools") or []]
    text, wanted = decide(turns, tools)
    if wanted is None:
        said, end = {"role": "assistant", "content": text}, "stop"
    else:
        function = {"name": text, "arguments": json.dumps(wanted)}
        call = {"index": 0, "id": "call_%d" % len(turns), "type": "function", "function": function}
        said, end = {"role": "assistant", "tool_calls": [call]}, "tool_calls"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = {"id": "chat_1", "created": 1, "model": body.get("model")}
    if not body.get("stream"):
        choice = {"index": 0, "message": said, "finish_reason": end}
        return {**whole, "object": "chat.completion", "choices": [choice], "usage": usage}
    piece = lambda delta, end: {"index": 0, "delta": delta, "finish_reason": end}
    chunk = {**whole, "object": "chat.completion.chunk"}
    return [
        {**chunk, "choices": [piece(said, None)]},
        {**chunk, "choices": [piece({}, end)], "usage": usage},
        "[DONE]",
    ]


def gemini(body, stream):
    turns, tools = [], []
    for it in body.get("contents") or []:
        for part in it.get("parts") or []:
            if "functionResponse" in part:
                turns.append(("tool", json.dumps(part["functionResponse"].get("response"))))
            elif "functionCall" in part:
                turns.append(("call", json.dumps(part["functionCall"].get("args"))))
            elif it.get("role") == "user":
                turns.append(("user", part.get("text") or ""))
    for it in body.get("tools") or []:
        tools += [one["name"] for one in it.get("functionDeclarations") or []]
    text, wanted = decide(turns, tools)
    if (body.get("generationConfig") or {}).get("responseMimeType") == "application/json":
        text, wanted = "{}", None
    part = {"text": text} if wanted is None else {"functionCall": {"name": text, "args": wanted}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    answer = {"candidates": [candidate], "usageMetadata": usage}
    return [answer] if stream else answer


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def tell(self, answer, code=200):
        streams = isinstance(answer, list)
        if streams:
            text = ""
            for it in answer:
                event = "event: %s\n" % it["type"] if isinstance(it, dict) and "type" in it else ""
                text += "%sdata: %s\n\n" % (event, it if isinstance(it, str) else json.dumps(it))
        else:
            text = json.dumps(answer)
        data = text.encode()
        self.send_response(code)
        self.send_header("content-type", "text/event-stream" if streams else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.tell({"data": [], "models": [], "object": "list", "has_more": False}, 200 if "models" in self.path else 404)

    def do_POST(self):
        body, path = json.loads(self.body() or b"{}"), self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            return self.tell({"input_tokens": 1})
        if path.endswith("/messages"):
            return self.tell(messages(body))
        if path.endswith("/responses"):
            return self.tell(responses(body))
        if path.endswith("/chat/completions"):
            return self.tell(chat(body))
        if "enerateContent" in path:
            return self.tell(gemini(body, ":stream" in path))
        self.tell({}, 404)


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
