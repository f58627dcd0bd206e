"""The real MongoDB and Redis that the other tests run on."""

import redis
from pymongo import MongoClient


def test_mongod_takes_a_journaled_majority_write(mongo_uri: str, mongo_database: str) -> None:
    with MongoClient[dict[str, object]](mongo_uri, w="majority", journal=True) as client:
        client[mongo_database].things.insert_one({"_id": 1})
        assert client[mongo_database].things.count_documents({}) == 1


def test_redis_keeps_a_value_for_a_while(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("key", "value", ex=60)
        assert client.get("key") == b"value"
        assert 0 < client.ttl("key") <= 60
