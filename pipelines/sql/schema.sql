-- The practice database: the tables behind the procedures.
--
-- Loads unchanged into MySQL 8 and 9, MariaDB 10.11 and the embedded sandbox:
-- portable types only, no CHECK, no generated columns, no foreign keys (the bulk
-- loader fills tables in any order). A statement is a CREATE TABLE, or an ALTER
-- TABLE that adds keys: the bulk loader runs those once the rows are in, which is
-- twice as fast. It ends with a semicolon at the end of a line; nothing else in
-- this file may end a line with one.
--
-- Habits of every table: a singular name; an integer key; `ts_4_insert` and
-- `ts_4_update`, naive local time, set by the practice software, indexed because
-- the procedures filter on them; soft deletion by `is_deleted`; flags are
-- TINYINT 0 or 1.

CREATE TABLE patient (
  patient_id                  INT          NOT NULL,
  family_head_id              INT          NOT NULL,  -- a patient_id; a head's own
  patient_card                VARCHAR(20)  NULL,
  family_role                 VARCHAR(20)  NOT NULL,  -- Family Head, Family Member
  patient_status              VARCHAR(20)  NOT NULL,  -- Active, Inactive
  record_status               VARCHAR(20)  NOT NULL,  -- Active, Inactive, Deleted
  title                       VARCHAR(20)  NULL,
  first_name                  VARCHAR(100) NOT NULL,
  middle_name                 VARCHAR(100) NULL,
  surname                     VARCHAR(100) NOT NULL,
  preferred_name              VARCHAR(100) NULL,
  gender                      VARCHAR(40)  NULL,
  birthdate                   DATE         NULL,
  occupation                  VARCHAR(100) NULL,
  email                       VARCHAR(255) NULL,
  phone                       VARCHAR(30)  NULL,
  mobile                      VARCHAR(30)  NULL,
  work_phone                  VARCHAR(30)  NULL,
  address1                    VARCHAR(200) NULL,
  address2                    VARCHAR(200) NULL,
  postcode                    VARCHAR(10)  NULL,      -- text: 0800 is Darwin
  suburb                      VARCHAR(100) NULL,
  state                       VARCHAR(10)  NULL,
  work_address1               VARCHAR(200) NULL,
  work_address2               VARCHAR(200) NULL,
  work_postcode               VARCHAR(10)  NULL,
  work_suburb                 VARCHAR(100) NULL,
  work_state                  VARCHAR(10)  NULL,
  recall_comm_preference      VARCHAR(10)  NULL,      -- SMS, Email, Letter
  appointment_comm_preference VARCHAR(10)  NULL,
  invoice_comm_preference     VARCHAR(10)  NULL,
  queries_comm_preference     VARCHAR(10)  NULL,
  first_seen_date             DATE         NULL,
  first_treatment_date        DATE         NULL,
  new_patient_date            DATE         NOT NULL,  -- first visit; the day of registration until then
  latest_seen_date            DATE         NULL,
  practitioner_id             INT          NULL,
  location_id                 INT          NOT NULL,
  new_patient_location_id     INT          NULL,
  is_deleted                  TINYINT      NOT NULL,
  referral_source_id          INT          NULL,
  health_fund_id              INT          NULL,
  fee_level_id                INT          NULL,
  ts_4_insert                 DATETIME     NOT NULL,
  ts_4_update                 DATETIME     NOT NULL,
  PRIMARY KEY (patient_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE patient
  ADD KEY patient_family_head (family_head_id),
  ADD KEY patient_new_patient_date (new_patient_date),
  ADD KEY patient_ts_4_insert (ts_4_insert),
  ADD KEY patient_ts_4_update (ts_4_update);

CREATE TABLE appointment (
  appointment_id           BIGINT       NOT NULL,
  appointment_status       VARCHAR(40)  NOT NULL,
  appointment_status_codes VARCHAR(20)  NOT NULL,  -- letters, e.g. NCA; empty when none applies
  cancelled                TINYINT      NOT NULL,
  failed                   TINYINT      NOT NULL,  -- did not come
  attended                 TINYINT      NOT NULL,
  online                   TINYINT      NOT NULL,  -- booked online
  appointment_type_code    VARCHAR(10)  NOT NULL,
  appointment_type         VARCHAR(100) NOT NULL,
  appointment_date         DATE         NOT NULL,
  start_time               DATETIME     NOT NULL,
  end_time                 DATETIME     NOT NULL,
  appointment_arrival_time DATETIME     NULL,
  actual_start_time        DATETIME     NULL,
  actual_end_time          DATETIME     NULL,
  duration                 INT          NOT NULL,  -- minutes; end_time = start_time + duration
  recall_set_linked        TINYINT      NOT NULL,
  patient_id               INT          NOT NULL,
  practitioner_id          INT          NOT NULL,
  location_id              INT          NOT NULL,
  original_date            DATE         NULL,      -- day of the first booking, when rescheduled
  created_by               VARCHAR(100) NOT NULL,
  updated_by               VARCHAR(100) NOT NULL,
  is_deleted               TINYINT      NOT NULL,
  confirmed                TINYINT      NOT NULL,
  appointment_book_id      INT          NOT NULL,
  ts_4_insert              DATETIME     NOT NULL,
  ts_4_update              DATETIME     NOT NULL,
  PRIMARY KEY (appointment_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE appointment
  ADD KEY appointment_patient (patient_id),
  ADD KEY appointment_appointment_date (appointment_date),
  ADD KEY appointment_ts_4_insert (ts_4_insert),
  ADD KEY appointment_ts_4_update (ts_4_update);
