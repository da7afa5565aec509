"""A scorer for Oarlock in Python's standard library: the share of a completion that is the wanted letter.

Run it with `python3 scorer.py 8000`; the run file names it by `type: http, http: {url: http://127.0.0.1:8000/score}`.
The contract is in docs/rewards.md.
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def judge(sample):
    completion = sample["completion"]
    if not completion:
        return {"failed": "an empty completion has no share"}
    return {"score": completion.count("1") / len(completion)}


class Scorer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results = [judge(sample) for sample in request["samples"]]
        answer = json.dumps({"version": "1", "results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Scorer).serve_forever()
