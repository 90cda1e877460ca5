"""Two independent servers for the same repositories: the local Bitbucket, and nginx with git's own http-backend."""

import json, os, shutil, signal, socket, ssl, subprocess, time, urllib.request

import link

# Requests that git http-backend answers at the same time.
WRAPPERS = 56
TOKEN_PATH = "/site/oauth2/access_token"


def die_with_parent():
    link.libc.prctl(link.PR_SET_PDEATHSIG, signal.SIGTERM)


class Bitbucket:
    """tests/bitbucket: the server that the tests use."""

    name = "bitbucket"

    def __init__(self, binary, root):
        self.process = subprocess.Popen(
            [binary, "--root", root, "--print-json", "--ignore-stdin"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        told = json.loads(self.process.stdout.readline())
        self.base_url, self.ca_file, self.control_key = told["base_url"], told["ca_file"], told["control_key"]
        self.client_id, self.client_secret = told["client_id"], told["client_secret"]
        self.port = int(self.base_url.rpartition(":")[2])
        scopes = ["repository", "repository:write"]
        self.token = self.control("POST", "tokens", {"kind": "access", "scopes": scopes})["token"]

    def control(self, method, path, body=None):
        request = urllib.request.Request(self.base_url + "/_local/" + path, method=method)
        request.add_header("X-Local-Key", self.control_key)
        context = ssl.create_default_context(cafile=self.ca_file)
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(request, data=data, context=context) as answer:
            return json.loads(answer.read() or b"null")

    def forget(self):
        self.control("DELETE", "requests")

    def seen(self):
        """Requests, token calls among them, and connections since they were last forgotten.

        One connection more is that of the first question itself.
        """
        requests, connections = self.control("GET", "requests"), self.control("GET", "connections")
        return len(requests), sum(request["kind"] == "token" for request in requests), connections - 2

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Nginx:
    """nginx, fcgiwrap and git http-backend, as git's own documentation sets them up; it checks that a token comes."""

    name = "nginx"

    def __init__(self, directory, repositories, other):
        self.missing_programs = [name for name in ("nginx", "fcgiwrap", "openssl") if not find(name)]
        if self.missing_programs:
            raise FileNotFoundError(f"{', '.join(self.missing_programs)} not installed (Debian: nginx-light fcgiwrap openssl)")
        self.directory = directory
        os.mkdir(directory)
        self.client_id, self.client_secret, self.token = other.client_id, other.client_secret, other.token
        self.port = free_port()
        self.base_url = f"https://localhost:{self.port}"
        self.ca_file = self.certificates()
        self.log = os.path.join(directory, "access.log")
        self.read_from = 0
        sock = os.path.join(directory, "fcgi")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "preexec_fn": die_with_parent}
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(sock)
            listener.listen(WRAPPERS)
            # Not fcgiwrap's own children, which would outlive it.
            self.processes = [subprocess.Popen([find("fcgiwrap")], stdin=listener, **quiet) for _ in range(WRAPPERS)]
        configuration = os.path.join(directory, "nginx.conf")
        with open(configuration, "w") as file:
            file.write(self.configuration(sock, repositories))
        self.processes.append(subprocess.Popen([find("nginx"), "-p", directory, "-c", configuration], stdin=subprocess.DEVNULL, **quiet))
        await_port(self.port, self.processes)

    def certificates(self):
        at = lambda name: os.path.join(self.directory, name)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True)
        run("req", "-x509", *key, "-subj", "/CN=bench authority", "-keyout", at("ca.key"), "-out", at("ca.pem"))
        name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"]
        issuer = ["-CA", at("ca.pem"), "-CAkey", at("ca.key")]
        run("req", "-x509", *key, *name, *issuer, "-keyout", at("server.key"), "-out", at("server.pem"))
        return at("ca.pem")

    def configuration(self, sock, repositories):
        backend = os.path.join(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-http-backend")
        answer = json.dumps({"access_token": self.token, "token_type": "bearer", "expires_in": 7200})
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""
            daemon off; {user} pid {self.directory}/pid; error_log {self.directory}/error.log;
            worker_processes 2;
            events {{ worker_connections 1024; }}
            http {{
                log_format seen '$connection $request_method $uri $status';
                access_log {self.log} seen;
                client_body_temp_path {self.directory}/body; fastcgi_temp_path {self.directory}/answers;
                proxy_temp_path {self.directory}/p; uwsgi_temp_path {self.directory}/u; scgi_temp_path {self.directory}/s;
                server {{
                    listen 127.0.0.1:{self.port} ssl http2;
                    ssl_certificate server.pem; ssl_certificate_key server.key;
                    client_max_body_size 0;
                    location = {TOKEN_PATH} {{ default_type application/json; return 200 '{answer}'; }}
                    location / {{
                        if ($http_authorization = "") {{ add_header WWW-Authenticate 'Basic realm="nginx"' always; return 401; }}
                        fastcgi_request_buffering off; fastcgi_buffering off;
                        fastcgi_pass unix:{sock};
                        fastcgi_param SCRIPT_FILENAME {backend};
                        fastcgi_param GIT_PROJECT_ROOT {repositories};
                        fastcgi_param GIT_HTTP_EXPORT_ALL 1;
                        fastcgi_param GIT_PROTOCOL $http_git_protocol;
                        fastcgi_param PATH_INFO $uri;
                        fastcgi_param QUERY_STRING $query_string;
                        fastcgi_param REQUEST_METHOD $request_method;
                        fastcgi_param CONTENT_TYPE $content_type;
                        fastcgi_param CONTENT_LENGTH $content_length;
                        fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
                        fastcgi_param REMOTE_USER bench;
                    }}
                }}
            }}
        """

    def forget(self):
        self.read_from = os.path.getsize(self.log)

    def seen(self):
        with open(self.log) as file:
            file.seek(self.read_from)
            rows = [line.split() for line in file]
        return len(rows), sum(row[2] == TOKEN_PATH for row in rows), len({row[0] for row in rows})

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def find(program):
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, processes):
    for _ in range(200):
        if any(process.poll() is not None for process in processes):
            raise ChildProcessError("a server of nginx and fcgiwrap ended at once")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
    raise TimeoutError("nginx does not listen")
