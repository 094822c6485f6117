import asyncio
import warnings

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    try:
        loop = asyncio.get_event_loop()
        print("made", loop.is_running(), loop.is_closed())
        loop.close()
    except RuntimeError as error:
        print(error)
print([str(one.message) for one in seen])
