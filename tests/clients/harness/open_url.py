#!/usr/bin/env python3
"""What `BROWSER` names: hands the URL that a client opens to the harness's browser."""

import json
import os
import sys
import urllib.request

# A browser's launcher does not wait for the person: some clients listen only once it returns.
if os.fork():
    os._exit(0)

case = json.loads(os.environ["CLIENT_CASE"])
wish = json.dumps({"url": sys.argv[1], "deliver": True}).encode()
headers = {"content-type": "application/json"}
with urllib.request.urlopen(urllib.request.Request(case["browser"], wish, headers), timeout=60) as answer:
    print(answer.read().decode(), file=sys.stderr)
