import sqlite3

with sqlite3.connect("data.db") as connection:
    connection.execute("create table t (n integer primary key, s text)")
    connection.executemany("insert into t (s) values (?)", [("a",), ("b",)])
print(connection.execute("select * from t").fetchall())
import sqlalchemy as sa  # noqa

engine = sa.create_engine("sqlite:///data.db")
with engine.begin() as bound:
    bound.execute(sa.text("delete from t where n = 1"))
    print(bound.execute(sa.text("select count(*) from t")).scalar())
connection.close()
engine.dispose()
print(open("data.db", "rb").read(15))
import os  # noqa

os.remove("data.db")
