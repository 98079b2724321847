-- Names that YAML, shells, SQL and JSON read as something else, and tables that are hardly any.
CREATE TABLE `select` (`from` INT, `where` INT NOT NULL, `order` VARCHAR(10), `null` INT, `true` INT, `yes` INT, `no` INT, `on` INT, `off` INT, `y` INT, `n` INT, `~` INT) ENGINE=InnoDB;
CREATE TABLE `yes` (`1e3` INT NOT NULL PRIMARY KEY, `2024-01-31` DATE, `0x10` INT, `1_000` INT, `.inf` INT, `-1` INT, `007` INT, `12:30:45` TIME, `=` INT, `<<` INT, `3.14` DECIMAL(3,2)) ENGINE=InnoDB;
CREATE TABLE `null` (a INT) ENGINE=InnoDB;
CREATE TABLE `1e3` (a INT) ENGINE=InnoDB;
CREATE TABLE `2024-01-31` (`a b` INT, ` leading` INT, `two  spaces` INT) ENGINE=InnoDB;
CREATE TABLE `a table, with: signs #1` (`{a}` INT, `[b]` INT, `c: d` INT, `e #f` INT, `#g` INT, `&h` INT, `*i` INT, `!j` INT, `|k` INT, `>l` INT, `%m` INT, `@n` INT, `- o` INT, `? p` INT,
  `'q'` INT, `"r"` INT, `s\t` INT, `u,v` INT, `${params.x}` INT, `$${y}` INT, `w/x` INT, `y~z` INT, `name#2` INT, `e-mail #1` VARCHAR(10), `email ${x}` TEXT) ENGINE=InnoDB;
CREATE TABLE `back``tick` (`a``b` INT, `c` INT) ENGINE=InnoDB;
CREATE TABLE `Straße 日本` (`größe` INT, `Геном` VARCHAR(5), `日本語` TEXT, `E-Mail-Adresse` VARCHAR(99) NOT NULL, `Geburtsdatum` DATETIME(3)) ENGINE=InnoDB;
CREATE TABLE `${env.HOME}` (a INT) ENGINE=InnoDB;
CREATE TABLE `*` (a INT) ENGINE=InnoDB;
CREATE TABLE ` leading space` (a INT) ENGINE=InnoDB;
CREATE TABLE `trailing.yaml` (a INT) ENGINE=InnoDB;
CREATE TABLE `../up` (a INT) ENGINE=InnoDB;
CREATE TABLE no_rows (id INT NOT NULL PRIMARY KEY, name VARCHAR(10)) ENGINE=InnoDB;
CREATE TABLE no_key (a INT, b VARCHAR(10)) ENGINE=MyISAM;
CREATE TABLE computed (a INT NOT NULL PRIMARY KEY, b INT AS (a + 1) VIRTUAL, c VARCHAR(20) AS (CONCAT('x', a)) STORED, KEY (b)) ENGINE=InnoDB;
CREATE TABLE masked_all (email VARCHAR(50) NOT NULL, phone BIGINT NOT NULL, birthday TIMESTAMP(6) NULL, salary DECIMAL(10,2) NOT NULL, photo LONGBLOB NOT NULL, latitude DOUBLE NOT NULL,
  iban CHAR(22) NOT NULL, dob DATE NOT NULL, ip_address VARBINARY(16), zip INT, first_name VARCHAR(9)) ENGINE=InnoDB;
INSERT INTO masked_all VALUES ('a@b.c', 1, '2024-07-01 12:00:00.5', 1.5, 'x', 1.5, 'DE12', '1980-02-29', 'abcd', 5, 'Jo');
INSERT INTO computed (a) VALUES (1), (2);
INSERT INTO `yes` (`1e3`, `2024-01-31`) VALUES (1, '2024-02-29');
CREATE TABLE gone (a INT) ENGINE=InnoDB;
CREATE VIEW broken AS SELECT a FROM gone;
DROP TABLE gone;
CREATE VIEW constants AS SELECT 1 AS one, 'a' AS b, NULL AS nothing, 1.50 AS price, NOW(6) AS at, CURDATE() AS today, CAST(1 AS UNSIGNED) AS u, 1e0 AS d, x'00ff' AS bytes, TIME('10:00:00') AS t;
DELIMITER //
CREATE PROCEDURE `call me, please`(IN `a b` INT, IN `from_date` DATE, IN `limit` INT, IN `ärger` VARCHAR(5)) READS SQL DATA
BEGIN
  SELECT `a b` AS `a b`, 1 AS `yes`;
END //
CREATE PROCEDURE `with.point`(IN a INT) READS SQL DATA
BEGIN
  SELECT a AS a, 1 AS b;
END //
CREATE PROCEDURE `${x}`() READS SQL DATA
BEGIN
  SELECT 1 AS a;
END //
CREATE PROCEDURE writes() MODIFIES SQL DATA
BEGIN
  INSERT INTO no_rows VALUES (1, 'x');
  SELECT 1 AS a;
END //
CREATE PROCEDURE undeclared()
BEGIN
  SELECT id, name FROM no_rows;
END //
CREATE PROCEDURE silent() READS SQL DATA
BEGIN
  SET @cipherstream_nothing = 1;
END //
DELIMITER ;
