import ssl

context = ssl.create_default_context()
print(context.verify_mode, context.check_hostname, context.minimum_version)
server, client = ssl.MemoryBIO(), ssl.MemoryBIO()
connection = context.wrap_bio(server, client, server_hostname="example.org")
try:
    connection.do_handshake()
except ssl.SSLWantReadError:
    print(len(client.read()) > 100, len(ssl.RAND_bytes(8)))
