# env: TZ=America/New_York
import time

print(time.tzname, time.timezone, time.localtime(0)[:6])
