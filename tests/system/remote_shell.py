"""What ssh is to a cluster, for hosts that are network namespaces: runs a command on another host, over that host's link.

remote_shell.py serve ADDRESS     on the host: answers until it is killed
remote_shell.py ADDRESS COMMAND   anywhere else: the command's output and exit code; 255 when the host cannot be reached, as ssh
"""
import os
import signal
import socket
import subprocess
import sys
import threading

PORT = 7022
END = b"\0exit "  # then the code: what comes last over a connection


def answer(connection):
    with connection:
        command = connection.makefile("r").readline().rstrip("\n")
        process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=connection, stderr=connection,
                                   start_new_session=True)
        code = process.wait()
        try:
            connection.sendall(END + str(code if code >= 0 else 128 - code).encode())
        except OSError:
            pass  # nobody listens any more


def serve(address):
    with socket.create_server((address, PORT), backlog=16) as server:
        while True:
            connection, _peer = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def call(address, command):
    try:
        connection = socket.create_connection((address, PORT))
        connection.sendall(command.replace("\n", " ").encode() + b"\n")
        last = b""
        while data := connection.recv(65536):
            last += data
            keep = last.rfind(END[:1])
            done = len(last) if keep < 0 else keep
            sys.stdout.buffer.write(last[:done])
            sys.stdout.buffer.flush()
            last = last[done:]
        return int(last[len(END):]) if last.startswith(END) else 255
    except OSError as error:
        print(f"remote_shell: {address}: {error}", file=sys.stderr)
        return 255


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[1], " ".join(sys.argv[2:])))
