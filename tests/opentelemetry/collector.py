"""A collector: takes OTLP over HTTP, decodes it with OpenTelemetry's own messages and prints a JSON line for each request.

The first line is the port. With an argument every request is answered with that status.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MESSAGES = {"/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest}
STATUS = int(sys.argv[1]) if len(sys.argv) > 1 else 200


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        message = MESSAGES[self.path]()
        message.ParseFromString(body)
        said = {"path": self.path, "authorization": self.headers["authorization"], "message": MessageToDict(message)}
        print(json.dumps(said), flush=True)
        self.send_response(STATUS)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
