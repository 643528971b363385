"""
Sends a PostgreSQL what was overheard, and nothing else: `bare_sql.py FILE PORT`. Against it, mail is measured.

FILE is JSON: pairs of a statement and its values, or a list of them where many rows are sent at once. What is read is
fetched to the end; all of it is one transaction over one connection.
"""

import json
import os
import sys
from pathlib import Path

from mspctl.secrets import Secret
from mspctl.transports.sql import Database, Server


def main(file: str, port: str) -> None:
    statements = json.loads(Path(file).read_bytes())
    server = Server("postgresql", "postfixadmin", "127.0.0.1", int(port), user="postfixadmin")
    database = Database(server, lambda: Secret("bench", os.environb[b"MSPCTL_SECRET_MAIL_1"]))
    writes = not statements[0][0].startswith("SELECT")
    with database.session(writes=writes) as session, session.transaction() as db:
        for statement, values in statements:
            done = db.exec_driver_sql(statement, values)
            if done.returns_rows:
                done.fetchall()


if __name__ == "__main__":
    main(*sys.argv[1:])
