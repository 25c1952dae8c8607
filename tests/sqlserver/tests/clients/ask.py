"""Runs statements through a client of SQL Server that was written by others, and prints what it made of the answers.

Called with `pytds` or `pymssql`; reads one JSON document from stdin, prints one to stdout. Everything that the client
says is passed on; nothing is decided here.

In:  {"host", "port", "user", "password", "database", "cafile", "read_only", "defaults", "timeout",
      "statements": [text | {"sql", "parameters"} | {"procedure", "parameters"}]}
Out: {"login": null | FAILURE, "version": text,
      "answers": [{"sets": [{"columns": [name], "rows": [[value]]}], "messages": [text], "status": number} | FAILURE]}
FAILURE: {"errors": [{"number", "class", "message"}], "text": text}
"""

import datetime
import decimal
import json
import sys
import uuid


def value(it):
    if it is None or isinstance(it, (bool, int, float, str)):
        return it
    if isinstance(it, decimal.Decimal):
        return str(it)
    if isinstance(it, (bytes, bytearray)):
        return "0x" + bytes(it).hex()
    if isinstance(it, uuid.UUID):
        return str(it).upper()
    if isinstance(it, datetime.datetime):
        return it.isoformat(timespec="milliseconds")
    raise TypeError(f"a value of type {type(it)}")


def text_of(it):
    text = it.decode("utf-8", "replace") if isinstance(it, bytes) else str(it)
    # What FreeTDS adds on its own behind the server's words.
    server, _, _ = text.partition("DB-Lib error message")
    return server or text


class PyTds:
    """python-tds: https://github.com/denisenkom/pytds"""

    def __init__(self, ask):
        import pytds

        self.pytds = pytds
        keywords = {} if ask["defaults"] else {"autocommit": True}
        if ask["cafile"]:
            # It would say only that TLS "does not work".
            import OpenSSL  # noqa: F401

            keywords["cafile"] = ask["cafile"]
        self.connection = pytds.connect(
            ask["host"],
            port=ask["port"],
            user=ask["user"],
            password=ask["password"],
            database=ask["database"] or None,
            readonly=ask["read_only"],
            timeout=ask["timeout"],
            disable_connect_retry=True,
            **keywords,
        )
        self.cursor = self.connection.cursor()

    def version(self):
        return hex(self.connection.tds_version)

    def messages(self):
        return self.connection._conn.main_session.messages if self.connection._conn else []

    def run(self, statement):
        if "procedure" in statement:
            self.cursor.callproc(statement["procedure"], statement["parameters"])
        elif statement["parameters"]:
            self.cursor.execute(statement["sql"], tuple(statement["parameters"]))
        else:
            self.cursor.execute(statement["sql"])
        sets = []
        while True:
            # A count without a result leaves the description of the result before it.
            if self.cursor._session.more_rows:
                columns = [column[0] for column in self.cursor.description]
                sets.append({"columns": columns, "rows": [list(map(value, row)) for row in self.cursor.fetchall()]})
            if not self.cursor.nextset():
                break
        answer = {"sets": sets, "messages": [message["message"] for message in self.messages()]}
        if "procedure" in statement:
            answer["status"] = self.cursor.get_proc_return_status()
        return answer

    def failure(self, error):
        # The exception has the last of them only; all are kept beside it.
        errors = [
            {"number": message["msgno"], "class": message["severity"], "message": message["message"]}
            for message in self.messages()
            if message["priv_msg_type"] == 1
        ]
        if not errors and getattr(error, "msg_no", 0):
            errors = [{"number": error.msg_no, "class": error.severity, "message": error.text}]
        return {"errors": errors, "text": f"{type(error).__name__}: {error}"}

    def commit(self):
        self.connection.commit()

    def close(self):
        self.connection.close()


class PyMsSql:
    """pymssql over FreeTDS: below its DB-API, where an error still has its class."""

    def __init__(self, ask):
        from pymssql import _mssql

        _mssql.set_max_connections(1)
        self.mssql = _mssql
        self.connection = _mssql.connect(
            server=ask["host"],
            port=str(ask["port"]),
            user=ask["user"],
            password=ask["password"],
            database=ask["database"] or "",
            charset="UTF-8",
        )
        if ask["timeout"]:
            self.connection.query_timeout = ask["timeout"]
        self.said = []
        self.connection.set_msghandler(self.hear)

    def version(self):
        return self.connection.tds_version_tuple and ".".join(map(str, self.connection.tds_version_tuple))

    def hear(self, state, severity, server, procedure, line, message):
        self.said.append(text_of(message))

    def run(self, statement):
        self.said = []
        if "procedure" in statement:
            procedure = self.connection.init_procedure(statement["procedure"])
            for parameter in statement["parameters"]:
                kind = self.mssql.SQLINT4 if isinstance(parameter, int) else self.mssql.SQLVARCHAR
                procedure.bind(parameter, kind)
            # What it returns is not the status: that comes after the rows.
            procedure.execute()
        elif statement["parameters"]:
            self.connection.execute_query(statement["sql"], tuple(statement["parameters"]))
        else:
            self.connection.execute_query(statement["sql"])
        sets = []
        while True:
            header = self.connection.get_header()
            if header:
                rows = [[row[index] for index in range(len(header))] for row in self.connection]
                sets.append({"columns": [column[0] for column in header], "rows": [list(map(value, row)) for row in rows]})
            if not self.connection.nextresult():
                break
        return {"sets": sets, "messages": self.said}

    def failure(self, error):
        errors = []
        if isinstance(error, self.mssql.MSSQLDatabaseException):
            errors = [{"number": error.number, "class": error.severity, "message": text_of(error.text)}]
        return {"errors": errors, "text": f"{type(error).__name__}: {error}"}

    def commit(self):
        pass

    def close(self):
        self.connection.close()


class PyMsSqlDefaults(PyMsSql):
    """The same through its DB-API, with what that does on its own."""

    def __init__(self, ask):
        import pymssql

        self.mssql = pymssql._mssql
        self.dbapi = pymssql.connect(
            server=ask["host"], port=str(ask["port"]), user=ask["user"], password=ask["password"], database=ask["database"]
        )
        self.cursor = self.dbapi.cursor()

    def version(self):
        return ""

    def run(self, statement):
        self.cursor.execute(statement["sql"], tuple(statement["parameters"]) or None)
        sets = []
        while True:
            if self.cursor.description:
                columns = [column[0] for column in self.cursor.description]
                sets.append({"columns": columns, "rows": [list(map(value, row)) for row in self.cursor.fetchall()]})
            if not self.cursor.nextset():
                break
        return {"sets": sets, "messages": []}

    def failure(self, error):
        errors = []
        if len(error.args) == 2 and isinstance(error.args[0], int):
            errors = [{"number": error.args[0], "class": 0, "message": text_of(error.args[1])}]
        return {"errors": errors, "text": f"{type(error).__name__}: {error}"}

    def commit(self):
        self.dbapi.commit()

    def close(self):
        self.dbapi.close()


def login_failure(name, error):
    if name == "pytds" and getattr(error, "msg_no", 0):
        errors = [{"number": error.msg_no, "class": error.severity, "message": str(error)}]
    elif hasattr(error, "number"):
        errors = [{"number": error.number, "class": error.severity, "message": text_of(error.text)}]
    elif error.args and isinstance(error.args[0], tuple) and isinstance(error.args[0][0], int):
        errors = [{"number": error.args[0][0], "class": 0, "message": text_of(error.args[0][1])}]
    else:
        errors = []
    return {"errors": errors, "text": f"{type(error).__name__}: {error}"}


def main():
    name = sys.argv[1]
    ask = json.load(sys.stdin)
    kinds = {"pytds": PyTds, "pymssql": PyMsSqlDefaults if ask["defaults"] else PyMsSql}
    out = {"login": None, "version": "", "answers": []}
    try:
        client = kinds[name](ask)
    except ImportError:
        raise
    except Exception as error:
        out["login"] = login_failure(name, error)
        print(json.dumps(out))
        return
    out["version"] = client.version()
    for statement in ask["statements"]:
        if isinstance(statement, str):
            statement = {"sql": statement, "parameters": []}
        try:
            out["answers"].append(client.run(statement))
        except Exception as error:
            out["answers"].append(client.failure(error))
    try:
        if ask["defaults"]:
            client.commit()
        client.close()
    except Exception:
        # The connection was gone already, which the answers say.
        pass
    print(json.dumps(out))


main()
