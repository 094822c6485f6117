"""Modules beside a script come before those that the floor has imported."""

import decimal
import json
import uuid

import zygote

print(decimal.WHO, json.WHO, zygote.WHO, uuid.UUID(int=1))
