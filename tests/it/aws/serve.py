"""Serves moto on a free loopback port, which it prints. It ends when its standard input does: with who started it."""

import gc
import os
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def log_request(self, *arguments):
        pass


def end_with_parent():
    while os.read(0, 1):
        pass
    os._exit(0)


# Each account brings 1,500 managed policies, through which the collector would walk again and again.
gc.disable()
threading.Thread(target=end_with_parent, daemon=True).start()
# Not threaded: moto is not safe under many writers at once.
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), request_handler=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
