PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE api_keys (
	key_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	sha256 BLOB NOT NULL, 
	role TEXT NOT NULL, 
	agent TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	revoked BOOLEAN NOT NULL, 
	PRIMARY KEY (key_id)
);
INSERT INTO "api_keys" VALUES('0000000000000000','console',X'66687AADF862BD776C8FC18B8E9F8E20089714856EE233B3902A591D0D5F2925','admin','',1795853065185487,0);
CREATE TABLE calls (
	call_id TEXT NOT NULL, 
	started_at INTEGER NOT NULL, 
	ended_at INTEGER, 
	state TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	PRIMARY KEY (call_id)
);
INSERT INTO "calls" VALUES('call1',1795853065177971,1795853065184341,'ended','granted','default');
INSERT INTO "calls" VALUES('call2',1795853065181509,NULL,'open','','default');
CREATE TABLE recordings (
	recording TEXT NOT NULL, 
	call_id TEXT NOT NULL, 
	path TEXT NOT NULL, 
	recipient TEXT NOT NULL, 
	wrapped_key BLOB NOT NULL, 
	state TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	frames INTEGER NOT NULL, 
	opened_at INTEGER NOT NULL, 
	closed_at INTEGER, 
	PRIMARY KEY (recording), 
	FOREIGN KEY(call_id) REFERENCES calls (call_id)
);
INSERT INTO "recordings" VALUES('call1-1','call1','/var/call1.age','age1x',X'77726170706564','closed','ab',7,3,1795853065179687,1795853065182929);
INSERT INTO "recordings" VALUES('call2-1','call2','/var/call2.age','age1x',X'77726170706564','open','',0,0,1795853065182199,NULL);
CREATE INDEX ix_calls_started_at ON calls (started_at);
CREATE INDEX ix_recordings_call_id ON recordings (call_id);
COMMIT;
