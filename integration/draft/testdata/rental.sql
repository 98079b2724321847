-- A shop that lends films: keys, views, procedures and comments as databases of that kind have them.
CREATE TABLE language (language_id TINYINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name CHAR(20) NOT NULL,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) ENGINE=InnoDB;
CREATE TABLE actor (actor_id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, first_name VARCHAR(45) NOT NULL, last_name VARCHAR(45) NOT NULL,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, KEY idx_last_name (last_name)) ENGINE=InnoDB;
CREATE TABLE category (category_id TINYINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(25) NOT NULL) ENGINE=InnoDB;
CREATE TABLE film (film_id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'Key of the film.', title VARCHAR(128) NOT NULL COMMENT 'Title: as on the cover, "quotes" and all.',
  description TEXT, release_year YEAR DEFAULT NULL, language_id TINYINT UNSIGNED NOT NULL, rental_rate DECIMAL(4,2) NOT NULL DEFAULT 4.99,
  length SMALLINT UNSIGNED DEFAULT NULL, rating ENUM('G','PG','it''s, quoted') DEFAULT 'G', special_features SET('Trailers','Commentaries') DEFAULT NULL,
  last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, CONSTRAINT fk_film_language FOREIGN KEY (language_id) REFERENCES language (language_id)) ENGINE=InnoDB
  COMMENT='Every film that can be lent.';
CREATE TABLE film_actor (actor_id SMALLINT UNSIGNED NOT NULL, film_id SMALLINT UNSIGNED NOT NULL, PRIMARY KEY (actor_id, film_id)) ENGINE=InnoDB;
CREATE TABLE film_text (film_id SMALLINT NOT NULL PRIMARY KEY, title VARCHAR(255) NOT NULL, description TEXT, FULLTEXT KEY idx_text (title, description)) ENGINE=InnoDB;
CREATE TABLE customer (customer_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, first_name VARCHAR(45) NOT NULL, last_name VARCHAR(45) NOT NULL,
  email VARCHAR(50) DEFAULT NULL, birth_date DATE NOT NULL, phone VARCHAR(20) NOT NULL, iban VARCHAR(34) DEFAULT NULL, active BOOLEAN NOT NULL DEFAULT TRUE,
  create_date DATETIME NOT NULL, last_update TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY email (email)) ENGINE=InnoDB;
CREATE TABLE rental (rental_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, rental_date DATETIME(6) NOT NULL, customer_id INT UNSIGNED NOT NULL, return_date DATETIME DEFAULT NULL) ENGINE=InnoDB;
CREATE TABLE payment (payment_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id INT UNSIGNED NOT NULL, amount DECIMAL(5,2) NOT NULL,
  payment_date DATETIME NOT NULL) ENGINE=InnoDB;
CREATE TABLE staff (staff_id TINYINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, first_name VARCHAR(45) NOT NULL, picture BLOB, email VARCHAR(50), username VARCHAR(16) NOT NULL,
  password VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL) ENGINE=InnoDB;
INSERT INTO language (name) VALUES ('English'), ('Deutsch');
INSERT INTO film (title, release_year, language_id, length, special_features) VALUES ('An A', 2006, 1, 90, 'Trailers'), ('B', NULL, 2, NULL, NULL);
INSERT INTO customer (first_name, last_name, email, birth_date, phone, iban, create_date) VALUES ('Real', 'Person', 'real.person@example.net', '1980-07-15', '4711815', 'DE99', '2024-01-01 10:00:00');
INSERT INTO rental (rental_date, customer_id) VALUES ('2024-06-01 12:00:00.5', 1);
INSERT INTO payment (customer_id, amount, payment_date) VALUES (1, 4.99, '2024-06-01 12:00:00');
CREATE VIEW customer_list AS SELECT customer_id AS id, CONCAT(first_name, ' ', last_name) AS name, phone, IF(active, 'active', '') AS notes FROM customer;
CREATE VIEW sales_by_customer AS SELECT c.customer_id, SUM(p.amount) AS total_sales, COUNT(*) AS payments, AVG(p.amount) AS average, MAX(p.payment_date) AS latest
  FROM customer AS c JOIN payment AS p USING (customer_id) GROUP BY c.customer_id;
CREATE VIEW film_list AS SELECT f.film_id AS FID, f.title, f.rental_rate AS price, l.name AS language FROM film AS f JOIN language AS l USING (language_id);
DELIMITER //
CREATE PROCEDURE film_in_stock(IN p_film_id INT, IN p_store_id INT, OUT p_count INT) READS SQL DATA COMMENT 'Copies of a film.'
BEGIN
  SELECT film_id, title FROM film WHERE film_id = p_film_id;
  SELECT COUNT(*) INTO p_count FROM film;
END //
CREATE PROCEDURE rewards(IN min_purchases TINYINT UNSIGNED, IN min_amount DECIMAL(10,2), IN since DATE) READS SQL DATA
BEGIN
  SELECT customer_id, email, last_update, CAST(1 AS SIGNED) AS one FROM customer WHERE since IS NULL OR create_date >= since;
END //
CREATE PROCEDURE counted(OUT films BIGINT, INOUT label VARCHAR(20)) READS SQL DATA
BEGIN
  SELECT COUNT(*) INTO films FROM film;
END //
CREATE PROCEDURE nothing_given() NO SQL
BEGIN
  SELECT 1 AS a, 'x' AS b;
END //
DELIMITER ;
