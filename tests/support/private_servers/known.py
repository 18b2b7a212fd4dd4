"""Which servers there are: how each is started, how it answers when it is ready, how it is ended."""

import signal
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Server:
    variable: str  # is set to the url
    url: str
    package: str  # Debian's
    programs: tuple[str, ...]  # which have to be there
    script: str  # for sh, in an empty folder of its own; $PORT, $PORT2 and $PORT3 are free ports
    hello: bytes  # what is sent to it ...
    answer: bytes  # ... and how its answer begins when it is ready
    stop: signal.Signals = signal.SIGKILL  # nothing of theirs is worth an orderly end
    before: str = ""  # the server that it stands in front of; its script finds the way to that in $BEHIND


SERVERS = {
    "postgres": Server(
        variable="EVENTS_TEST_POSTGRES_URL",
        url="postgresql://postgres@127.0.0.1:{port}/postgres",
        package="postgresql",
        programs=("initdb", "postgres"),
        script="""
            [ -d data ] || initdb -D data -U postgres -A trust -E UTF8 --no-locale --no-sync
            exec postgres -D data -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
                -c max_connections=200 -c max_prepared_transactions=20
        """,
        hello=b"\0\0\0\x29\0\3\0\0user\0postgres\0database\0postgres\0\0",
        answer=b"R\0\0\0\x08\0\0\0\0",  # AuthenticationOk
        stop=signal.SIGQUIT,  # at once, but with an end to its shared memory and to the processes it has started
    ),
    "redis": Server(
        variable="EVENTS_TEST_REDIS_URL",
        url="redis://127.0.0.1:{port}/0",
        package="redis-server",
        programs=("redis-server",),
        script='exec redis-server --bind 127.0.0.1 --port "$PORT" --save "" --appendonly no --dir .',
        hello=b"PING\r\nINFO server\r\n",
        answer=b"+PONG",
    ),
    "rabbitmq": Server(
        variable="EVENTS_TEST_AMQP_URL",
        url="amqp://guest:guest@127.0.0.1:{port}//",
        package="rabbitmq-server",
        programs=("rabbitmq-server", "erl", "epmd"),
        # It would read /etc, share one epmd (Erlang's directory of nodes) with every other node on the machine, and
        # refuse messages when the disk is rather full; none of that is the tests' business.
        script="""
            mkdir -p conf.d; echo '[].' >plugins; : >env.conf; echo 'disk_free_limit.absolute = 50MB' >rabbitmq.conf
            export RABBITMQ_CONF_ENV_FILE="$PWD/env.conf" RABBITMQ_CONFIG_FILE="$PWD/rabbitmq.conf"
            export RABBITMQ_CONFIG_FILES="$PWD/conf.d" RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/plugins"
            export RABBITMQ_MNESIA_BASE="$PWD" RABBITMQ_LOG_BASE="$PWD" RABBITMQ_LOGS=-
            export RABBITMQ_GENERATED_CONFIG_DIR="$PWD" RABBITMQ_SCHEMA_DIR="$PWD"
            export RABBITMQ_NODENAME="events-$PORT@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
            export RABBITMQ_NODE_PORT="$PORT" RABBITMQ_DIST_PORT="$PORT2" ERL_EPMD_PORT="$PORT3"
            export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 &
            exec rabbitmq-server
        """,
        hello=b"AMQP\0\0\x09\1",
        answer=b"\1\0\0",  # a method, on channel 0: Connection.Start
    ),
    "nats": Server(
        variable="EVENTS_TEST_NATS_URL",
        url="nats://127.0.0.1:{port}",
        package="nats-server",
        programs=("nats-server",),
        script='exec nats-server -a 127.0.0.1 -p "$PORT" -js -sd data',
        hello=b"",
        answer=b"INFO ",
    ),
    "pgbouncer": Server(
        variable="EVENTS_TEST_PGBOUNCER_URL",
        url="postgresql://postgres@127.0.0.1:{port}/postgres",
        package="pgbouncer",
        programs=("pgbouncer",),
        # So few connections that whoever comes next gets one that somebody else has had.
        script="""
            cat >pgbouncer.ini <<END
[databases]
* = $BEHIND
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $PORT
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 500
END
            exec pgbouncer pgbouncer.ini
        """,
        hello=b"\0\0\0\x2a\0\3\0\0user\0postgres\0database\0pgbouncer\0\0",  # its console, which needs no server
        answer=b"R\0\0\0\x08\0\0\0\0",
        before="postgres",
    ),
}


# For tests that make a database each, by the thousand. What is to be measured, or restarted on its disk, waits for it.
_FORGETS = "exec postgres -c fsync=off -c full_page_writes=off"
FORGETFUL = {
    "postgres": replace(SERVERS["postgres"], script=SERVERS["postgres"].script.replace("exec postgres", _FORGETS)),
}
