-- The tables of PostfixAdmin 3.3 as far as mspctl reads and writes them, for SQLite: to try mailboxes out on a laptop,
-- without PostfixAdmin and without a mail server (sqlite3 mail.db < mail.sql). Columns that nothing here needs are left
-- out, so on a server PostfixAdmin makes its own. tests/drivers/test_mail_tables.py holds each column against those.

CREATE TABLE domain (
  domain varchar(255) NOT NULL PRIMARY KEY,
  description varchar(255) NOT NULL,
  aliases int(11) NOT NULL DEFAULT 0,
  mailboxes int(11) NOT NULL DEFAULT 0,             -- how many there may be; 0: any number
  maxquota bigint(20) NOT NULL DEFAULT 0,
  quota bigint(20) NOT NULL DEFAULT 0,              -- of all mailboxes together, in MB
  transport varchar(255) NOT NULL,
  backupmx tinyint(1) NOT NULL DEFAULT '0',
  created datetime NOT NULL DEFAULT '2000-01-01',
  modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1'
);

CREATE TABLE domain_admins (
  username varchar(255) NOT NULL,
  domain varchar(255) NOT NULL
);

CREATE TABLE alias_domain (
  alias_domain varchar(255) NOT NULL PRIMARY KEY,
  target_domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01',
  modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1'
);

CREATE TABLE mailbox (
  username varchar(255) NOT NULL PRIMARY KEY,       -- the whole address
  password varchar(255) NOT NULL,                   -- {SCHEME}hash
  name varchar(255) NOT NULL,
  maildir varchar(255) NOT NULL,
  quota bigint(20) NOT NULL DEFAULT 0,              -- in octets; 0: unlimited
  local_part varchar(255) NOT NULL,
  domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01',
  modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1',
  password_expiry datetime NOT NULL DEFAULT '2000-01-01'
);

CREATE TABLE alias (
  address varchar(255) NOT NULL PRIMARY KEY,        -- of mailboxes, too: where their mail goes
  goto TEXT NOT NULL,                               -- addresses, with commas between them
  domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01',
  modified datetime NOT NULL DEFAULT '2000-01-01',
  active tinyint(1) NOT NULL DEFAULT '1'
);

CREATE TABLE vacation (
  email varchar(255) NOT NULL PRIMARY KEY,
  subject varchar(255) NOT NULL,
  body TEXT NOT NULL,
  activefrom datetime NOT NULL DEFAULT '2000-01-01',
  activeuntil datetime NOT NULL DEFAULT '2038-01-18',
  cache TEXT NOT NULL DEFAULT '',
  domain varchar(255) NOT NULL,
  interval_time int(11) NOT NULL DEFAULT 0,
  created datetime NOT NULL DEFAULT '2000-01-01',
  modified datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  active tinyint(1) NOT NULL DEFAULT '1'
);

CREATE TABLE vacation_notification (
  on_vacation varchar(255) NOT NULL,
  notified varchar(255) NOT NULL,
  PRIMARY KEY (on_vacation, notified)
);

CREATE TABLE quota (
  username varchar(255) NOT NULL,
  path varchar(100) NOT NULL,
  PRIMARY KEY (username, path)
);

CREATE TABLE quota2 (
  username varchar(255) NOT NULL PRIMARY KEY,
  bytes bigint(20) NOT NULL DEFAULT 0,
  messages int(11) NOT NULL DEFAULT 0
);

CREATE TABLE fetchmail (
  id INTEGER NOT NULL PRIMARY KEY,
  mailbox varchar(255) NOT NULL
);

CREATE TABLE log (
  id INTEGER NOT NULL PRIMARY KEY,
  timestamp datetime NOT NULL DEFAULT '2000-01-01',
  username varchar(255) NOT NULL,
  domain varchar(255) NOT NULL,
  action varchar(255) NOT NULL,
  data TEXT NOT NULL
);
