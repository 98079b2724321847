# Runs one script after the other, each in a namespace of its own. A request is a line of JSON and the bytes of the
# script's standard input; the answer is a line of JSON and the bytes that it printed.
import io, json, sys, traceback

requests, answers = sys.stdin.buffer, sys.stdout.buffer
while line := requests.readline():
    request = json.loads(line)
    printed, problem = io.BytesIO(), ""
    sys.argv = ["-c", *request["args"]]
    sys.stdin = io.TextIOWrapper(io.BytesIO(requests.read(request["input"])), "utf-8")
    sys.stdout = io.TextIOWrapper(printed, "utf-8")
    try:
        exec(compile(request["script"], "<script>", "exec"), {"__name__": "__main__"})
    except BaseException:
        problem = traceback.format_exc()
    sys.stdout.flush()
    output = printed.getvalue()
    answers.write(json.dumps({"output": len(output), "problem": problem}).encode() + b"\n" + output)
    answers.flush()
