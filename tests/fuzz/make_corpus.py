#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the seeds of the corpora below tests/fuzz/corpus: golden vectors, and hand-made inputs.
What a fuzzer found is put beside them by hand, under a name that says what it is."""
import base64
import os
import struct

here = os.path.dirname(os.path.abspath(__file__))


def put(fuzzer, name, data):
    d = os.path.join(here, "corpus", fuzzer)
    os.makedirs(d, exist_ok=True)
    with open(os.path.join(d, name), "wb") as f:
        f.write(data)


with open(os.path.join(here, "..", "golden", "vectors.txt"), encoding="utf-8") as f:
    for line in f:
        name, value = line.split(" ", 1)
        if name.startswith("record:") or name in ("bad:unknown", "bad:body:doubled", "bad:body:9-locators"):
            put("record", name.replace(":", "-"), bytes.fromhex(value.strip()))
        if name.startswith(("enrolment:", "bad-enrolment:")):
            raw = bytes.fromhex(value.strip())
            put("enrolment", name.replace(":", "-"), raw[5:6] + raw[93:-64])

for i, (n, flags) in enumerate((("alice", 0), ("Alice", 1), ("%41%6c%69ce", 0), ("bob", 2), ("a%4", 0),
                                ("j%C3%B6rg", 0))):
    put("name", "user%d" % i, bytes([flags]) + n.encode())
put("name", "user-host", bytes([2 | 5 << 2]) + b"aliceExample.COM.")
put("name", "user-v6", bytes([3 | 1 << 2]) + b"a[2001:db8::1]")
put("name", "long", bytes([0]) + b"x" * 201)



def offer(s, f, m, addresses):
    def pad(words, n):
        return bytes(words) + bytes(n - len(words))
    return bytes([len(s), len(f), len(m), addresses]) + pad(s, 3) + pad(f, 2) + pad(m, 3)


put("negotiate", "alike", offer([1, 2, 4], [4, 6], [1, 2, 4], 63) * 2)
put("negotiate", "opposite", offer([1, 2, 4], [4, 6], [1, 2, 4], 63) + offer([4, 2, 1], [6, 4], [4, 2, 1], 63))
put("negotiate", "stream-elsewhere", offer([1, 2], [4, 6], [1], 1 | 16) * 2)
put("negotiate", "no-signalling", offer([1], [4], [1], 63) + offer([4], [4], [1], 63))
put("negotiate", "no-family", offer([1], [4, 6], [1], 7) + offer([1], [4, 6], [1], 56))
put("negotiate", "no-media", offer([1], [4], [1], 63) + offer([1], [4], [4, 2], 63))
put("negotiate", "twice", offer([1, 1], [4], [1], 63) * 2)
put("negotiate", "too-many", bytes([4, 3, 4, 63]) + bytes(8))
put("negotiate", "unknown-words", offer([8], [5], [9], 63) * 2)
put("negotiate", "uri", b"sip:[2001:db8::1]:5061;transport=tls")

for i, t in enumerate(("2001:22:81c2:d509:f8cf:4fc2:3af3:f782", "2001:20::", "sip:192.0.2.1:5060;transport=udp",
                       "sip:[2001:db8::1]:5061;transport=tls", "SIP:192.0.2.1;Transport=TCP", "sip:192.0.2.1",
                       "18446744073709551615", "0", "afce75dbec9ee285e81bf8b24cf6dba6", "STALE 17",
                       "\"<urn:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6>\"")):
    put("text", "text%d" % i, t.encode())


def cmd(*a):
    return b"*%d\r\n" % len(a) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x.encode()) for x in a)


put("resp", "ping", cmd("PING") + cmd("PING", "hi"))
put("resp", "handshake", cmd("HANDSHAKE", "1", "k", "id") + cmd("DONE", "x") + cmd("HANDSHAKE", "2") + cmd("DONE"))
put("resp", "command", cmd("COMMAND", "DOCS") + cmd("COMMAND", "COUNT"))
put("resp", "subscribe", cmd("SUBSCRIBE", "a", "b") + cmd("PING") + cmd("UNSUBSCRIBE", "a") + cmd("UNSUBSCRIBE") +
    cmd("UNSUBSCRIBE"))
put("resp", "hold", cmd("HOLD") * 6 + cmd("PING") + cmd("SUBSCRIBE", "a"))
put("resp", "args", cmd("ARGS", "", "a b", "\r\n") + cmd("ARGS", *"123456") + cmd("QUIT") + cmd("PING"))
put("resp", "inline", b"PING\r\n")
put("resp", "nested", b"*1\r\n*1\r\n*1\r\n$4\r\nPING\r\n")
put("resp", "lengths", b"*2\r\n$-1\r\n$512\r\n" + b"x" * 512 + b"\r\n")
put("resp", "types", b"+OK\r\n-ERR\r\n:5\r\n*0\r\n*-1\r\n")

# RESP3, which hiredis reads from 1.0 on, and no command may be written in
for i, t in enumerate((b"%1\r\n$1\r\na\r\n$1\r\nb\r\n", b",1.5\r\n", b"#t\r\n", b"~1\r\n$4\r\nPING\r\n", b"_\r\n",
                       b">1\r\n$4\r\nPING\r\n", b"*1\r\n#t\r\n", b"*1\r\n=8\r\ntxt:PING\r\n", b"(123\r\n")):
    put("resp", "resp3-%d" % i, t)

OVERLAY, HIT = "afce75dbec9ee285e81bf8b24cf6dba6", "2001:22:81c2:d509:f8cf:4fc2:3af3:f782"
PEER = '{"versions":[1],"hit":"%s","overlay":"%s","epoch":"7"' % (HIT, OVERLAY)
OPENING = ('{"nonce":"%s","instance":"00000000000000ff","lifetime_s":600,"offer":{"signalling":["udp","tls"],'
           '"family":["ipv4","ipv6"],"media":["rtp"],"sip":["sip:192.0.2.1:5060;transport=udp"]}' % ("a5" * 32))
for name, which, text in (
        ("path-peer", 0, "/v1/%s/peer" % OVERLAY), ("path-user", 0, "/v1/%s/users/%s" % (OVERLAY, "0f" * 20)),
        ("path-later", 0, "/v2/what/ever"), ("path-double", 0, "/v1/%s//peer" % OVERLAY),
        ("member", 1, "1767225600000:" + "00" * 32), ("member-short", 1, "1767225600000:00"), ("member-none", 1, ":"),
        ("peer", 2, PEER + ',"software":"a \\"b\\"","sip":["sip:192.0.2.1:5060;transport=udp"]}'),
        ("peer-later", 2, PEER + ',"x":{"y":[1,2.5,null]},"sip":["sips:z",3]}'),
        ("peer-deep", 2, PEER + ',"x":[[[[[[[[[[1]]]]]]]]]]}'), ("peer-nul", 2, PEER + ',"software":"a\\u0000b"}'),
        ("user-yes", 3, '{"user":"yes"}'), ("user-moved", 3, '{"user":"moved","hit":"%s"}' % HIT),
        ("user-other", 3, '{"user":"perhaps"}'), ("user-rest", 3, '{"user":"no"} x'),
        ("path-session", 0, "/v1/%s/sessions/%s" % (OVERLAY, "00112233445566778899aabbccddeeff")),
        ("error-nocommon", 4, '{"error":"no-common","reason":"no","uncommon":"media","user":"yes"}'),
        ("open", 5, OPENING + ',"user":"%s"}' % ("07" * 20)), ("open-plain", 5, OPENING + "}"),
        ("open-short", 5, OPENING[:-9]),
        ("opened", 6, OPENING + ',"signalling":"udp","family":"ipv4","media":"rtp","user":"moved","hit":"%s"}' % HIT),
        ("opened-rest", 6, OPENING + ',"signalling":"udp","family":"","media":"rtp"}'),
        ("calls", 7, '{"calls":3,"lifetime_s":600}'), ("calls-many", 7, '{"calls":99999999999}'),
        ("path-users", 0, "/v1/%s/users/query" % OVERLAY),
        ("keys", 12, '{"keys":["%s","%s"]}' % ("0f" * 20, "a5" * 20)), ("keys-none", 12, '{"keys":[]}'),
        ("users", 13, '{"users":[{"user":"yes"},{},{"user":"moved","hit":"%s"}]}' % HIT),
        ("users-other", 13, '{"users":[{"user":"perhaps"}]}'),
        ("error", 4, '{"error":"version","reason":"no","versions":[1,2]}'), ("error-empty", 4, "{}")):
    put("opp", name, bytes([which]) + text.encode())

# Users' records between gateways: which body, and its text.
REC = base64.urlsafe_b64encode(
    b"p2p\1\1\0" + bytes(16) + bytes([7]) * 20 + b"\2" + bytes(32) + (1767225600000).to_bytes(8, "big")
    + (1767312000000).to_bytes(8, "big") + bytes(2) + bytes(64)).decode().rstrip("=")
KEY = "07" * 20
for which, name, text in (
        (0, "batch", '{"records":["%s","%s"]}' % (REC, REC[:40])),
        (0, "batch-empty", '{"records":[]}'),
        (0, "batch-short", '{"records":["AA",7]}'),
        (0, "batch-padded", '{"records":["AAE="]}'),
        (1, "results", '{"instance":"18446744073709551615","results":["kept","stale 17","refused","full","unwanted"],'
                       '"others":["%s"]}' % REC),
        (1, "results-word", '{"instance":"1","results":["keptx"]}'),
        (1, "results-stale", '{"instance":"1","results":["stale"]}'),
        (2, "query", '{"watch_s":600,"keys":["%s"]}' % KEY),
        (2, "query-long", '{"watch_s":3601,"keys":[]}'),
        (2, "query-key", '{"keys":["%s"]}' % KEY[:38]),
        (3, "found", '{"instance":"5","answers":[{"synced":true,"watched":false,"records":["%s"]},'
                     '{"synced":false,"watched":true,"records":[]}]}' % REC),
        (3, "found-type", '{"instance":"5","answers":[{"synced":1,"watched":false,"records":[]}]}'),
        (4, "range", '{"after":"%s","to":"%s"}' % (KEY, "ff" * 20)),
        (5, "page", '{"instance":"5","synced":true,"next":"%s","records":["%s"]}' % (KEY, REC)),
        (5, "page-last", '{"instance":"5","synced":false,"records":[]}'),
        (6, "check", '{"have":"%s"}' % base64.urlsafe_b64encode(bytes(28 * 3)).decode().rstrip("=")),
        (6, "check-odd", '{"have":"%s"}' % base64.urlsafe_b64encode(bytes(27)).decode().rstrip("=")),
        (7, "missing", '{"instance":"5","missing":[0,1,1023]}'),
        (7, "missing-order", '{"instance":"5","missing":[1,1]}'),
        (7, "missing-range", '{"instance":"5","missing":[1024]}')):
    put("opp_records", name, bytes([which]) + text.encode())
put("opp_records", "head", bytes([8]) + base64.urlsafe_b64decode(REC + "=" * (-len(REC) % 4)))


def packed(*parts):
    return base64.urlsafe_b64encode(b"".join(parts)).decode().rstrip("=")


HIT_BYTES = bytes.fromhex("200100220102030405060708090a0b0c")
for name, text in (
        ("empty", "{}"), ("record", '{"records":["%s"]}' % packed(b"p2p" + bytes(160))),
        ("doubts", '{"records":[],"doubts":[{"hit":"2001:22:102:304:506:708:90a:b0c","order":"7","state":"suspect","age_ms":5},'
                   '{"hit":"2001:22:100::","order":"7","state":"dead","age_ms":4294967295}]}'),
        ("probe", '{"probe":["2001:22:102:304:506:708:90a:b0c"],"seen":[{"hit":"2001:22:200::","age_ms":0}]}'),
        ("digest", '{"digest":{"as_of":"1767225600000","sums":"%s"},"want":"%s"}' % (packed(bytes(range(32))), packed(HIT_BYTES))),
        ("digest-three", '{"digest":{"as_of":"1","sums":"%s"}}' % packed(bytes(24))),
        ("have", '{"have":{"of":4,"buckets":"000000000000000f","members":"%s"}}' %
         packed(HIT_BYTES, (9).to_bytes(8, "big"), b"\0", HIT_BYTES[:-1] + b"\1", (7).to_bytes(8, "big"), b"\1")),
        ("have-none", '{"have":{"of":64,"buckets":"ffffffffffffffff","members":""}}'),
        ("want-odd", '{"want":"AAAA"}'), ("later", '{"records":[],"x":{"y":[1,null]}}'), ("list", "[]")):
    put("members", name, text.encode())

put("settings", "all", b"[s]\na_ms = 12\nb = no\n[t]\nc = some text ; why\nd = two\ne = a, b\ne = c\n")
put("settings", "unit", b"[s]\na_s = 12\n")
put("settings", "bad", b"[s]\na_ms = 12ms\n")
put("settings", "twice", b"[s]\nb = no\nb = yes\n")
put("settings", "section", b"[x]\n[s\n")
put("settings", "bom", b"\xef\xbb\xbf[t]\r\nc =\r\ne =\r\n# end")
put("settings", "colon", b"[t]\nc: x:y = z\n e = indented\n")
put("settings", "long", b"[t]\nc = " + b"x" * 250 + b"\n")

# The gateway's journal, as it wrote it; then damaged in the ways that a crash or a hand does.
# Their checksums are SipHash of the line with a key of zeros.
SUMS = (b"9cb9c200e8e87a0a",
        b"8df00f401353563b",
        b"ccad6fc2fcc93d6f",
        b"4e584d20a6beda21")
JOURNAL = (b"+ 0000000000001111 616c696365 - %s\n" % SUMS[0],
           b"+ 0000000000001111 626f62 0badcafe00000001 %s\n" % SUMS[1],
           b"- 0000000000001111 616c696365 - %s\n" % SUMS[2],
           b". 0000000000001111 626f62 - %s\n" % SUMS[3])
put("journal", "whole", b"".join(JOURNAL))
put("journal", "torn", b"".join(JOURNAL)[:-9])
put("journal", "torn-first", JOURNAL[0][:11])
put("journal", "glued", JOURNAL[0][:11] + JOURNAL[1] + JOURNAL[2])
put("journal", "empty-lines", b"\n\n" + JOURNAL[0] + b"\n" + JOURNAL[2])
put("journal", "nul", JOURNAL[0][:20] + b"\0" + JOURNAL[0][21:] + JOURNAL[1] + b"\0")
put("journal", "flipped", JOURNAL[0].replace(b"616c", b"616d") + JOURNAL[1])
put("journal", "long", b"+" * 700 + b"\n" + JOURNAL[1])
put("journal", "no-sum", b"+ 0000000000001111 616c696365 -\n \n  \n+\n")

put("nodes", "both", b"%040x 192.0.2.1 4222\n%040x 2001:db8::1 4222\n" % (7, 8))
put("nodes", "torn", b"%040x 192.0.2.1 4222\n%040x 2001:db" % (7, 8))
put("nodes", "names", b"%040x localhost domain\n%040x 192.0.2.1 http\n" % (7, 8))
put("nodes", "ports", b"%040x 192.0.2.1 65536\n%040x 192.0.2.1 -1\n%040x 192.0.2.1 0\n" % (7, 8, 9))
put("nodes", "ids", b"%038x 192.0.2.1 4222\n%042x 192.0.2.1 4222\nx 192.0.2.1 4222\n" % (7, 8))
put("nodes", "scope", b"%040x fe80::1%%lo 4222\n%040x ::ffff:192.0.2.1 1\n" % (7, 8))
put("nodes", "long", b"%040x " % 7 + b"1" * 200 + b" 4222\n" + b"a" * 300 + b"\n")
put("nodes", "short-forms", b"%040x 192.2 0x50\n%040x 0 4222\n \t%040x\t1.2.3.4  7 more\n" % (7, 8, 9))

HIT, KEY = "2001:22:81c2:d509:f8cf:4fc2:3af3:f782", "03" + "e6" * 32
put("enrolled", "user", ("p2psip-user 1\norder 17\nname alice\nrealm example.org\ndigests MD5 SHA-256\nha1 %s\n"
                         "peer %s %s yes\npeer 2001:22::1 %s no\n" % ("ab" * 48, HIT, KEY, KEY)).encode())
put("enrolled", "removed", b"p2psip-user 1\norder 18\nname a b\nremoved yes\nany no\nrealm r\ndigests MD5\nha1 " +
    b"00" * 16 + b"\n")
put("enrolled", "peer", ("p2psip-user 1\norder 1\npeer %s %s yes\n" % (HIT, KEY)).encode())
put("enrolled", "rules", b"p2psip-rules 1\norder 5\nrealm overlay.example.org\ndigests SHA-256\npermission required\n"
    b"changes 3\nchanged 00112233\nchanged ffffffff\n")
put("enrolled", "torn", b"p2psip-user 1\norder 17\nname ali")
put("answer", "auth", cmd("overlay.example.org", "60000", "SHA-256", "11" * 32, "MD5", "22" * 16))
put("answer", "auth-unknown-digest", cmd("r", "1", "SHA3", "11", "MD5", "22" * 16))
put("answer", "rules", cmd("realm", "r", "digests", "MD5 SHA-256", "permission", "required", "changes", "3"))


# slots of a file of contacts, as a machine with little-endian numbers has them
def contact_record(ruid, table=b"location", aor=b"alice", contact=b"sip:alice@192.0.2.1:5060", extra=b"", version=1,
                   marks=0):
    strings = [table, aor, contact, b"", b"<sip:192.0.2.9;lr>", b"udp:192.0.2.2:5060", b"call-id", b"agent",
               b"<urn:uuid:1>", extra]
    return ruid + struct.pack("<IIiiIIII", version, marks, -1, 0, 0, 0, 0xffffffff, 1) + b"".join(
        struct.pack("<H", len(x)) + x for x in strings)


def contact_slots(record, at, order, key_len, chain=()):
    out, rest = {}, record
    slots = [at, *chain]
    for i, n in enumerate(slots):
        follow = slots[i + 1] + 1 if i + 1 < len(slots) else 0
        if i == 0:
            head, room = struct.pack("<QQIIII", order, 0, len(record), follow, key_len, 0), 480
        else:
            head, room = struct.pack("<QII", 0, follow, 0), 496
        out[n] = (head + rest[:room]).ljust(512, b"\0")
        rest = rest[room:]
    return out


def contacts_file(whole, *records):
    slots = {}
    for r in records:
        slots.update(r)
    n = max(slots) + 1 if slots else 0
    return bytes([whole]) + b"".join(slots.get(i, bytes(512)) for i in range(n))


one = contact_slots(contact_record(b"uloc-1"), 0, 1, 6)
put("contacts", "one", contacts_file(1, one))
put("contacts", "newer-of-two", contacts_file(1, one, contact_slots(contact_record(b"uloc-1", aor=b"bob"), 1, 2, 6)))
long = contact_record(b"uloc-2", extra=b"x" * 1500)
put("contacts", "chain", contacts_file(1, one, contact_slots(long, 1, 3, 6, (5, 3, 9))))
put("contacts", "chain-shared", contacts_file(1, contact_slots(long, 1, 3, 6, (5, 3, 9)),
                                              contact_slots(long.replace(b"uloc-2", b"uloc-3"), 2, 4, 6, (5, 3, 9))))
loop = contact_slots(long, 1, 3, 6, (5, 3, 9))
loop[9] = struct.pack("<QII", 0, 2, 0) + loop[9][16:]
put("contacts", "chain-loop", contacts_file(1, loop))
put("contacts", "no-contact", contacts_file(1, contact_slots(contact_record(b"u", contact=b""), 0, 1, 1)))
put("contacts", "key-too-long", contacts_file(1, contact_slots(contact_record(b"u"), 0, 1, 200)))
put("contacts", "order-max", contacts_file(1, contact_slots(contact_record(b"u"), 0, 2 ** 64 - 1, 1)))
