-- The practice database: the tables behind the procedures.
--
-- Loads unchanged into MySQL 8 and 9, MariaDB 10.11 and the embedded sandbox:
-- portable types only, no CHECK, no generated columns, no foreign keys (the bulk
-- loader fills tables in any order). A statement is a CREATE TABLE, or an ALTER
-- TABLE that adds keys: the bulk loader runs those once the rows are in, which is
-- twice as fast. It ends with a semicolon at the end of a line; nothing else in
-- this file may end a line with one.
--
-- Habits of every table: a singular name; an integer key, positive, which need not
-- be dense; `ts_4_insert` and `ts_4_update`, naive local time, set by the practice
-- software, the second never before the first, and indexed where the procedures
-- filter on them; soft deletion by `is_deleted`; flags are TINYINT 0 or 1; a column
-- X_id names the key of table X unless a comment says otherwise, and its row exists.
--
-- Money is in Australian dollars, GST included: DECIMAL(12,4) in the ledger,
-- DECIMAL(12,2) in prices. A percentage is DECIMAL(7,4), 100.0000 being the whole.
--
-- The ledger is invoice, invoice_practitioner, invoice_instalment,
-- account_payment_plan, receipt, payment_allocation, deposit and discount. Its rows
-- are never deleted, so these have no `is_deleted`. What was wrong is reversed: by a
-- row of its own with `reversal` 1, the amounts negated, a date that is not earlier,
-- reverses_X_id naming the row it takes back, and what else that row says. A row is
-- reversed at most once, and as a whole, so that sums simply add up.
-- `date_effective` is the day on which a row counts, in every report as at a day;
-- `date_processing` is when it was entered, on that day or later, and not after
-- `ts_4_insert`.
--
-- What holds among the rows, on every day, with only the rows effective until then:
--   invoice.amount       = SUM(item_qty * item_fee) of its treatments not deleted
--   an invoice           = the sum of its instalments, which are at least one
--   shares of an invoice = 100, over its invoice_practitioner rows
--   settled              = its allocations + its discounts - its reversal's amount,
--                          which is negative; and 0 <= settled <= amount
--   receipt.amount      >= the sum of its allocations, and equal to it unless the
--                          receipt is a deposit or the refund of one
--   deposit.balance      = its amount - the allocations of its receipt - its refunds
--                          (now, not on every day)
-- So the money owed on a day is the sum of invoices - allocations - discounts.

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
  first_seen_date             DATE         NULL,      -- first attended appointment, not deleted
  first_treatment_date        DATE         NULL,      -- first treatment, not deleted
  new_patient_date            DATE         NOT NULL,  -- first visit; the day of registration until then
  latest_seen_date            DATE         NULL,      -- last attended appointment, not deleted, and treatment
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
  recall_set_linked        TINYINT      NOT NULL,  -- 1 when a recall names it
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

-- What came of an appointment that was cancelled or failed: one row for each of
-- those, and for no other. FTA goes with appointment.failed, UTA with cancelled.
CREATE TABLE appointment_cancellation (
  cancellation_id        BIGINT        NOT NULL,
  appointment_id         BIGINT        NOT NULL,
  patient_id             INT           NOT NULL,  -- this and the next five: the appointment's
  practitioner_id        INT           NOT NULL,
  location_id            INT           NOT NULL,
  appointment_book_id    INT           NOT NULL,
  appointment_date       DATE          NOT NULL,
  start_time             DATETIME      NOT NULL,
  cancellation_type      VARCHAR(3)    NOT NULL,  -- FTA failed to attend, UTA unable to attend
  cancellation_reason_id INT           NULL,
  notes                  VARCHAR(1000) NULL,
  cancelled_by           VARCHAR(100)  NOT NULL,
  cancelled_date         DATETIME      NOT NULL,  -- FTA: after start_time, UTA: not after it
  rescheduled            TINYINT       NOT NULL,
  is_deleted             TINYINT       NOT NULL,
  ts_4_insert            DATETIME      NOT NULL,
  ts_4_update            DATETIME      NOT NULL,
  PRIMARY KEY (cancellation_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE appointment_cancellation
  ADD KEY appointment_cancellation_reason (cancellation_reason_id),
  ADD KEY appointment_cancellation_cancelled_date (cancelled_date),
  ADD KEY appointment_cancellation_ts_4_insert (ts_4_insert),
  ADD KEY appointment_cancellation_ts_4_update (ts_4_update);

-- Messages about an appointment: about 1.2 for each.
CREATE TABLE appointment_reminder (
  reminder_id     BIGINT       NOT NULL,
  appointment_id  BIGINT       NOT NULL,
  patient_id      INT          NOT NULL,  -- the appointment's
  reminder_type   VARCHAR(40)  NOT NULL,  -- Confirmation, Reminder, Follow-up
  channel         VARCHAR(10)  NOT NULL,  -- SMS, Email, Letter
  reminder_date   DATE         NOT NULL,  -- day on which it goes out; the day of sent_date once it did
  sent_date       DATETIME     NULL,      -- NULL until it was sent
  delivery_status VARCHAR(20)  NOT NULL,  -- Pending while sent_date is NULL, then Sent, Delivered, Failed
  reply_status    VARCHAR(20)  NULL,      -- Confirmed, Declined, Other; NULL with reply_date
  reply_date      DATETIME     NULL,      -- not before sent_date
  location_id     INT          NOT NULL,  -- the appointment's
  is_deleted      TINYINT      NOT NULL,
  ts_4_insert     DATETIME     NOT NULL,
  ts_4_update     DATETIME     NOT NULL,
  PRIMARY KEY (reminder_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE appointment_reminder
  ADD KEY appointment_reminder_reminder_date (reminder_date),
  ADD KEY appointment_reminder_ts_4_insert (ts_4_insert),
  ADD KEY appointment_reminder_ts_4_update (ts_4_update);

-- Patients who wait for a visit: about 0.1 a patient.
CREATE TABLE waitlist (
  waitlist_id           BIGINT        NOT NULL,
  patient_id            INT           NOT NULL,
  added_date            DATE          NOT NULL,
  preferred_date        DATE          NULL,      -- not before added_date
  preferred_time        VARCHAR(20)   NULL,      -- HH:MM, or Morning, Afternoon
  priority              INT           NULL,      -- 1 first
  appointment_book_id   INT           NULL,
  duration              INT           NOT NULL,  -- minutes
  appointment_type_code VARCHAR(10)   NULL,      -- of an appointment_type
  practitioner_id       INT           NULL,
  location_id           INT           NOT NULL,
  next_appointment_id   BIGINT        NULL,      -- an appointment_id, of the same patient
  notes                 VARCHAR(1000) NULL,
  created_by            VARCHAR(100)  NOT NULL,
  is_deleted            TINYINT       NOT NULL,
  ts_4_insert           DATETIME      NOT NULL,
  ts_4_update           DATETIME      NOT NULL,
  PRIMARY KEY (waitlist_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE waitlist
  ADD KEY waitlist_added_date (added_date),
  ADD KEY waitlist_ts_4_insert (ts_4_insert),
  ADD KEY waitlist_ts_4_update (ts_4_update);

-- Patients to be seen again: about 1.5 a patient.
CREATE TABLE recall (
  recall_id         BIGINT        NOT NULL,
  patient_id        INT           NOT NULL,
  recall_type_id    INT           NOT NULL,
  recall_date       DATE          NOT NULL,  -- due day
  recall_status     VARCHAR(20)   NOT NULL,  -- Due, Contacted, Booked, Completed, Cancelled
  last_contact_date DATE          NULL,      -- NULL, as contact_method, while reminder_count is 0
  contact_method    VARCHAR(10)   NULL,      -- SMS, Email, Letter
  reminder_count    INT           NOT NULL,
  appointment_id    BIGINT        NULL,      -- of the same patient; Booked and Completed ones have it
  practitioner_id   INT           NULL,
  location_id       INT           NOT NULL,
  notes             VARCHAR(1000) NULL,
  is_deleted        TINYINT       NOT NULL,
  ts_4_insert       DATETIME      NOT NULL,
  ts_4_update       DATETIME      NOT NULL,
  PRIMARY KEY (recall_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE recall
  ADD KEY recall_type (recall_type_id),
  ADD KEY recall_recall_date (recall_date),
  ADD KEY recall_ts_4_insert (ts_4_insert),
  ADD KEY recall_ts_4_update (ts_4_update);

-- What was done, and the lines of invoices: about 2.2 for an invoice that is no
-- reversal, at least one of them not deleted; a reversal has none. An attended
-- appointment gives one invoice, of its day, for its patient or for several of the
-- family. The fees are those of the patient's fee level.
CREATE TABLE treatment (
  treatment_id    BIGINT        NOT NULL,
  patient_id      INT           NOT NULL,  -- the invoice's, or one of the same family
  treatment_date  DATE          NOT NULL,  -- the invoice's date_effective
  item_code       VARCHAR(20)   NOT NULL,  -- of an item
  ada_item        VARCHAR(10)   NOT NULL,  -- the item's; empty when it has none
  item_qty        INT           NOT NULL,  -- 1 or more
  item_fee        DECIMAL(12,2) NOT NULL,  -- for one
  fee_discount    DECIMAL(12,2) NOT NULL,  -- for the line; an invoice's add up to its discounts before reversals
  item_paid       TINYINT       NOT NULL,  -- 1 when the invoice is settled
  tooth_number    VARCHAR(20)   NOT NULL,  -- tooth and surfaces, e.g. 12 (MO); empty for none
  invoice_id      BIGINT        NOT NULL,
  practitioner_id INT           NOT NULL,  -- one of the invoice's
  location_id     INT           NOT NULL,  -- the invoice's
  plan_id         BIGINT        NULL,      -- of a treatment_plan of the same patient
  non_treatment   TINYINT       NOT NULL,  -- the item's
  non_reporting   TINYINT       NOT NULL,  -- the item's
  health_fund_id  INT           NULL,      -- the invoice's
  is_deleted      TINYINT       NOT NULL,
  ts_4_insert     DATETIME      NOT NULL,
  ts_4_update     DATETIME      NOT NULL,
  PRIMARY KEY (treatment_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE treatment
  ADD KEY treatment_invoice (invoice_id),
  ADD KEY treatment_treatment_date (treatment_date),
  ADD KEY treatment_ts_4_insert (ts_4_insert),
  ADD KEY treatment_ts_4_update (ts_4_update);

-- Proposed treatment: about 0.4 a patient.
CREATE TABLE treatment_plan (
  plan_id         BIGINT       NOT NULL,
  patient_id      INT          NOT NULL,
  plan_name       VARCHAR(100) NULL,
  plan_date       DATE         NOT NULL,  -- day proposed
  practitioner_id INT          NOT NULL,
  location_id     INT          NOT NULL,
  is_deleted      TINYINT      NOT NULL,
  ts_4_insert     DATETIME     NOT NULL,
  ts_4_update     DATETIME     NOT NULL,
  PRIMARY KEY (plan_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE treatment_plan
  ADD KEY treatment_plan_plan_date (plan_date),
  ADD KEY treatment_plan_ts_4_insert (ts_4_insert),
  ADD KEY treatment_plan_ts_4_update (ts_4_update);

-- Lines of a plan: about 4 each; a deleted plan's are all deleted.
CREATE TABLE treatment_plan_item (
  plan_item_id    BIGINT        NOT NULL,
  plan_id         BIGINT        NOT NULL,
  item_code       VARCHAR(20)   NOT NULL,  -- of an item
  item_qty        INT           NOT NULL,
  item_fee        DECIMAL(12,2) NOT NULL,  -- for one
  tooth_number    VARCHAR(20)   NULL,
  visit_number    INT           NULL,      -- 1 is the first
  accepted        TINYINT       NOT NULL,
  completed       TINYINT       NOT NULL,  -- only what was accepted
  practitioner_id INT           NOT NULL,
  is_deleted      TINYINT       NOT NULL,
  ts_4_insert     DATETIME      NOT NULL,
  ts_4_update     DATETIME      NOT NULL,
  PRIMARY KEY (plan_item_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE treatment_plan_item
  ADD KEY treatment_plan_item_plan (plan_id),
  ADD KEY treatment_plan_item_ts_4_insert (ts_4_insert),
  ADD KEY treatment_plan_item_ts_4_update (ts_4_update);

-- Invoices: one for an attended appointment, 0.02 of them reversed. One that was paid
-- is reversed only once its receipts are. Of those not reversed about 0.9 are settled,
-- the others in part or not at all.
CREATE TABLE invoice (
  invoice_id          BIGINT        NOT NULL,
  patient_id          INT           NOT NULL,
  patient_head_id     INT           NOT NULL,  -- a patient_id: who owes, the patient's family head
  send_acc_to_pat_id  INT           NOT NULL,  -- a patient_id: who gets the account, mostly the family head
  third_party_id      INT           NULL,      -- who gets it instead: about 0.04
  practitioner_id     INT           NOT NULL,  -- the leading one
  location_id         INT           NOT NULL,
  health_fund_id      INT           NULL,
  date_effective      DATE          NOT NULL,
  date_processing     DATETIME      NOT NULL,
  date_due            DATE          NULL,      -- of its first instalment; NULL on a reversal
  date_settled        DATE          NULL,      -- day of the last movement when nothing is owed after it, else NULL; a reversal's own day
  amount              DECIMAL(12,4) NOT NULL,  -- before discounts
  gst_amount          DECIMAL(12,4) NOT NULL,  -- in amount: an eleventh of every line whose item is taxed
  lab_fees            DECIMAL(12,4) NULL,      -- its expenses of the category Laboratory, not deleted; NULL for none
  reversal            TINYINT       NOT NULL,
  reverses_invoice_id BIGINT        NULL,      -- an invoice_id
  ts_4_insert         DATETIME      NOT NULL,
  ts_4_update         DATETIME      NOT NULL,
  PRIMARY KEY (invoice_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE invoice
  ADD KEY invoice_patient (patient_id),
  ADD KEY invoice_reverses (reverses_invoice_id),
  ADD KEY invoice_date_effective (date_effective),
  ADD KEY invoice_ts_4_insert (ts_4_insert),
  ADD KEY invoice_ts_4_update (ts_4_update);

-- Who did an invoice's work, and how much of it: one row for 0.85 of the invoices,
-- two for the others, one of them the invoice's practitioner. A reversal has the
-- shares of what it reverses.
CREATE TABLE invoice_practitioner (
  invoice_practitioner_id BIGINT        NOT NULL,
  invoice_id              BIGINT        NOT NULL,
  practitioner_id         INT           NOT NULL,  -- once an invoice
  involvement             DECIMAL(7,4)  NOT NULL,  -- percent: the practitioner's lines; the leading one takes what rounding leaves
  commission_percent      DECIMAL(7,4)  NOT NULL,  -- the rate of that day
  commission_expenses     DECIMAL(12,4) NULL,      -- borne of lab_fees by the practitioner; NULL without them
  ts_4_insert             DATETIME      NOT NULL,
  ts_4_update             DATETIME      NOT NULL,
  PRIMARY KEY (invoice_practitioner_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE invoice_practitioner
  ADD KEY invoice_practitioner_invoice (invoice_id),
  ADD KEY invoice_practitioner_practitioner (practitioner_id),
  ADD KEY invoice_practitioner_ts_4_insert (ts_4_insert),
  ADD KEY invoice_practitioner_ts_4_update (ts_4_update);

-- When an invoice is due: one row, or one for each rate of its payment plan. A
-- reversal has none. What was settled counts for the lowest number first.
CREATE TABLE invoice_instalment (
  instalment_id           BIGINT        NOT NULL,
  invoice_id              BIGINT        NOT NULL,
  instalment_number       INT           NOT NULL,  -- 1 is the first; date_due rises with it
  account_payment_plan_id BIGINT        NULL,
  date_due                DATE          NOT NULL,  -- not before the invoice
  amount                  DECIMAL(12,4) NOT NULL,  -- more than 0; 0 only when the invoice is 0
  rem_1                   DATE          NULL,      -- when the first reminder went out, after date_due
  rem_2                   DATE          NULL,      -- only with rem_1, after it, and so on
  rem_3                   DATE          NULL,
  rem_bad                 DATE          NULL,      -- when it was marked a bad debt
  printed                 TINYINT       NOT NULL,  -- account printed
  reminder_printed        TINYINT       NOT NULL,
  notes                   VARCHAR(1000) NULL,
  ts_4_insert             DATETIME      NOT NULL,
  ts_4_update             DATETIME      NOT NULL,
  PRIMARY KEY (instalment_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE invoice_instalment
  ADD KEY invoice_instalment_invoice (invoice_id),
  ADD KEY invoice_instalment_ts_4_insert (ts_4_insert),
  ADD KEY invoice_instalment_ts_4_update (ts_4_update);

-- Agreements to pay an invoice in rates: about 0.03 an invoice, never two for one.
CREATE TABLE account_payment_plan (
  account_payment_plan_id BIGINT        NOT NULL,
  invoice_id              BIGINT        NOT NULL,
  patient_head_id         INT           NOT NULL,  -- the invoice's
  plan_status             VARCHAR(20)   NOT NULL,  -- Active, Completed, Cancelled, Defaulted
  date_start              DATE          NOT NULL,  -- the invoice's date_effective
  instalments             INT           NOT NULL,  -- the number of its invoice_instalment rows: 3 to 12
  amount                  DECIMAL(12,4) NOT NULL,  -- the invoice's
  ts_4_insert             DATETIME      NOT NULL,
  ts_4_update             DATETIME      NOT NULL,
  PRIMARY KEY (account_payment_plan_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE account_payment_plan
  ADD KEY account_payment_plan_invoice (invoice_id),
  ADD KEY account_payment_plan_ts_4_insert (ts_4_insert),
  ADD KEY account_payment_plan_ts_4_update (ts_4_update);

-- Money taken: about 0.95 an invoice. The refund of a deposit has a negative amount
-- and deposit_refund 1; it is no reversal.
CREATE TABLE receipt (
  receipt_id               BIGINT        NOT NULL,
  receipt_installment_id   BIGINT        NULL,      -- an instalment_id, when taken for the rate of a plan
  patient_id               INT           NOT NULL,
  payment_type_id          INT           NOT NULL,
  practitioner_id          INT           NOT NULL,
  practitioner_location_id INT           NOT NULL,  -- a location_id: the practitioner's
  location_id              INT           NOT NULL,  -- where it was taken
  health_fund_id           INT           NULL,      -- when the payment type is a fund's claim
  date_effective           DATE          NOT NULL,
  date_processing          DATETIME      NOT NULL,
  amount                   DECIMAL(12,4) NOT NULL,
  deposit                  TINYINT       NOT NULL,  -- about 0.02; with a row in deposit
  deposit_refund           TINYINT       NOT NULL,  -- with a row in deposit, too
  reversal                 TINYINT       NOT NULL,  -- about 0.01; its allocations are reversed with it
  reverses_receipt_id      BIGINT        NULL,      -- a receipt_id
  cheque_payer             VARCHAR(100)  NULL,      -- NULL, all three, unless paid by cheque
  cheque_bank              VARCHAR(100)  NULL,
  cheque_branch            VARCHAR(100)  NULL,
  ts_4_insert              DATETIME      NOT NULL,
  ts_4_update              DATETIME      NOT NULL,
  PRIMARY KEY (receipt_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE receipt
  ADD KEY receipt_payment_type (payment_type_id),
  ADD KEY receipt_patient (patient_id),
  ADD KEY receipt_date_effective (date_effective),
  ADD KEY receipt_ts_4_insert (ts_4_insert),
  ADD KEY receipt_ts_4_update (ts_4_update);

-- What receipts pay: about 1.05 an invoice. Not before the invoice nor before the
-- receipt. The reversal of a receipt reverses its allocations.
CREATE TABLE payment_allocation (
  allocation_id          BIGINT        NOT NULL,
  receipt_id             BIGINT        NOT NULL,  -- on a reversal: the reversing receipt
  invoice_id             BIGINT        NOT NULL,  -- never a reversal
  patient_id             INT           NOT NULL,  -- the invoice's
  invoice_location_id    INT           NOT NULL,  -- a location_id: the invoice's
  receipt_location_id    INT           NOT NULL,  -- a location_id: the receipt's
  date_effective         DATE          NOT NULL,
  date_processing        DATETIME      NOT NULL,
  amount                 DECIMAL(12,4) NOT NULL,  -- negative on a reversal
  reversal               TINYINT       NOT NULL,
  reverses_allocation_id BIGINT        NULL,      -- an allocation_id
  ts_4_insert            DATETIME      NOT NULL,
  ts_4_update            DATETIME      NOT NULL,
  PRIMARY KEY (allocation_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE payment_allocation
  ADD KEY payment_allocation_invoice (invoice_id),
  ADD KEY payment_allocation_receipt (receipt_id),
  ADD KEY payment_allocation_patient (patient_id),
  ADD KEY payment_allocation_date_effective (date_effective),
  ADD KEY payment_allocation_ts_4_insert (ts_4_insert),
  ADD KEY payment_allocation_ts_4_update (ts_4_update);

-- Money taken for later: one row for a receipt with deposit or deposit_refund 1.
CREATE TABLE deposit (
  deposit_id          BIGINT        NOT NULL,
  receipt_id          BIGINT        NOT NULL,
  patient_id          INT           NOT NULL,  -- this and what else it shares with the receipt: the receipt's
  practitioner_id     INT           NULL,      -- for whom it is held
  location_id         INT           NOT NULL,
  date_effective      DATE          NOT NULL,
  date_processing     DATETIME      NOT NULL,
  amount              DECIMAL(12,4) NOT NULL,
  balance             DECIMAL(12,4) NOT NULL,  -- unused: 0 to amount; 0 on a refund, a reversal, and what they take back
  deposit_refund      TINYINT       NOT NULL,
  refunds_deposit_id  BIGINT        NULL,      -- a deposit_id, on a refund
  reversal            TINYINT       NOT NULL,
  reverses_deposit_id BIGINT        NULL,      -- a deposit_id
  ts_4_insert         DATETIME      NOT NULL,
  ts_4_update         DATETIME      NOT NULL,
  PRIMARY KEY (deposit_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE deposit
  ADD KEY deposit_date_effective (date_effective),
  ADD KEY deposit_ts_4_insert (ts_4_insert),
  ADD KEY deposit_ts_4_update (ts_4_update);

-- What was taken off invoices: about 0.1 an invoice, mostly on its day. The reversal
-- of an invoice reverses its discounts.
CREATE TABLE discount (
  discount_id          BIGINT        NOT NULL,
  invoice_id           BIGINT        NOT NULL,  -- never a reversal
  patient_id           INT           NOT NULL,  -- this and the next two: the invoice's
  practitioner_id      INT           NOT NULL,
  location_id          INT           NOT NULL,
  date_effective       DATE          NOT NULL,
  date_processing      DATETIME      NOT NULL,
  amount               DECIMAL(12,4) NOT NULL,  -- more than 0; negative on a reversal
  gst_amount           DECIMAL(12,4) NULL,      -- in amount; NULL when the invoice has none
  discount_reason      VARCHAR(100)  NULL,
  reversal             TINYINT       NOT NULL,
  reverses_discount_id BIGINT        NULL,      -- a discount_id
  ts_4_insert          DATETIME      NOT NULL,
  ts_4_update          DATETIME      NOT NULL,
  PRIMARY KEY (discount_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE discount
  ADD KEY discount_invoice (invoice_id),
  ADD KEY discount_patient (patient_id),
  ADD KEY discount_date_effective (date_effective),
  ADD KEY discount_ts_4_insert (ts_4_insert),
  ADD KEY discount_ts_4_update (ts_4_update);

-- What the practice spends: about 0.1 an appointment, a third of it tied to an
-- invoice (with its patient, practitioner and location), the rest to nothing.
CREATE TABLE expense (
  expense_id               BIGINT        NOT NULL,
  expense_date             DATE          NOT NULL,
  expense_category_id      INT           NOT NULL,
  description              VARCHAR(200)  NULL,
  amount                   DECIMAL(12,4) NOT NULL,
  gst_amount               DECIMAL(12,4) NOT NULL,  -- in amount
  cost_to_provider_percent DECIMAL(7,4)  NULL,
  practitioner_id          INT           NULL,
  patient_id               INT           NULL,
  invoice_id               BIGINT        NULL,      -- never a reversal
  location_id              INT           NOT NULL,
  is_deleted               TINYINT       NOT NULL,
  ts_4_insert              DATETIME      NOT NULL,
  ts_4_update              DATETIME      NOT NULL,
  PRIMARY KEY (expense_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE expense
  ADD KEY expense_expense_date (expense_date),
  ADD KEY expense_ts_4_insert (ts_4_insert),
  ADD KEY expense_ts_4_update (ts_4_update);

-- What people and the software did: audit entries of who looked at or changed what,
-- and application entries of the software itself. A quarter as many as appointments.
-- An entry is written once, in the order of its key, and never changed or deleted, so
-- there is no `is_deleted`, and `ts_4_update` is `ts_4_insert`.
CREATE TABLE log_entry (
  log_entry_id BIGINT       NOT NULL,
  log_kind     VARCHAR(20)  NOT NULL,  -- Audit, Application
  severity     VARCHAR(10)  NOT NULL,  -- Info, Warning, Error
  user_id      INT          NULL,      -- of a practice_user; none: the software itself
  module       VARCHAR(40)  NOT NULL,
  action       VARCHAR(40)  NOT NULL,
  patient_id   INT          NULL,      -- whom it is about
  workstation  VARCHAR(40)  NULL,
  message      VARCHAR(500) NULL,
  ts_4_insert  DATETIME     NOT NULL,
  ts_4_update  DATETIME     NOT NULL,
  PRIMARY KEY (log_entry_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE log_entry
  ADD KEY log_entry_ts_4_insert (ts_4_insert),
  ADD KEY log_entry_ts_4_update (ts_4_update);

-- The practice's set-up: lists that do not grow with the number of patients, but
-- where it is said. A reference procedure gives a whole list, so these have no keys
-- but their own, and that of the last change where other procedures show a value of
-- theirs.

-- 5 to 10: the letters of appointment.appointment_status_codes, and a few more.
CREATE TABLE appointment_status (
  appointment_status_id   INT          NOT NULL,
  appointment_status_code VARCHAR(1)   NOT NULL,
  appointment_status      VARCHAR(40)  NOT NULL,
  back_colour             VARCHAR(7)   NULL,      -- #RRGGBB
  text_colour             VARCHAR(7)   NULL,
  retain_in_standby       TINYINT      NOT NULL,
  is_official             TINYINT      NOT NULL,  -- bound to an event: new patient, confirmed, arrived, failed, unable
  is_active               TINYINT      NOT NULL,
  is_deleted              TINYINT      NOT NULL,
  ts_4_insert             DATETIME     NOT NULL,
  ts_4_update             DATETIME     NOT NULL,
  PRIMARY KEY (appointment_status_id)
) DEFAULT CHARSET=utf8mb4;

-- 10 to 20: every code that appointments have.
CREATE TABLE appointment_type (
  appointment_type_id   INT          NOT NULL,
  appointment_type_code VARCHAR(10)  NOT NULL,
  appointment_type      VARCHAR(100) NOT NULL,
  default_duration      INT          NULL,      -- minutes
  colour                VARCHAR(7)   NULL,      -- #RRGGBB
  is_active             TINYINT      NOT NULL,
  is_deleted            TINYINT      NOT NULL,
  ts_4_insert           DATETIME     NOT NULL,
  ts_4_update           DATETIME     NOT NULL,
  PRIMARY KEY (appointment_type_id)
) DEFAULT CHARSET=utf8mb4;

-- One for every practitioner and location, and one or two without a practitioner.
CREATE TABLE appointment_book (
  appointment_book_id INT          NOT NULL,
  book_name           VARCHAR(100) NOT NULL,
  practitioner_id     INT          NULL,
  location_id         INT          NOT NULL,
  book_group          VARCHAR(100) NULL,
  time_interval       INT          NOT NULL,  -- minutes
  is_active           TINYINT      NOT NULL,
  is_deleted          TINYINT      NOT NULL,
  ts_4_insert         DATETIME     NOT NULL,
  ts_4_update         DATETIME     NOT NULL,
  PRIMARY KEY (appointment_book_id)
) DEFAULT CHARSET=utf8mb4;

-- Times kept free for a type: 2 to 10 a book.
CREATE TABLE appointment_template (
  template_id           INT          NOT NULL,
  template_name         VARCHAR(100) NOT NULL,
  appointment_book_id   INT          NULL,
  day_of_week           INT          NULL,      -- 1 Monday to 7 Sunday
  start_time            VARCHAR(5)   NOT NULL,  -- HH:MM
  end_time              VARCHAR(5)   NOT NULL,  -- HH:MM, after start_time
  appointment_type_code VARCHAR(10)  NULL,      -- of an appointment_type
  location_id           INT          NOT NULL,
  is_deleted            TINYINT      NOT NULL,
  ts_4_insert           DATETIME     NOT NULL,
  ts_4_update           DATETIME     NOT NULL,
  PRIMARY KEY (template_id)
) DEFAULT CHARSET=utf8mb4;

-- 8 to 15.
CREATE TABLE cancellation_reason (
  cancellation_reason_id INT          NOT NULL,
  cancellation_reason    VARCHAR(100) NOT NULL,
  is_system              TINYINT      NOT NULL,
  is_active              TINYINT      NOT NULL,
  is_deleted             TINYINT      NOT NULL,
  ts_4_insert            DATETIME     NOT NULL,
  ts_4_update            DATETIME     NOT NULL,
  PRIMARY KEY (cancellation_reason_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE cancellation_reason
  ADD KEY cancellation_reason_ts_4_update (ts_4_update);

-- 4, the ones that patients have.
CREATE TABLE fee_level (
  fee_level_id   INT          NOT NULL,
  fee_level_name VARCHAR(100) NOT NULL,
  is_default     TINYINT      NOT NULL,  -- 1 for exactly one
  is_active      TINYINT      NOT NULL,
  is_deleted     TINYINT      NOT NULL,
  ts_4_insert    DATETIME     NOT NULL,
  ts_4_update    DATETIME     NOT NULL,
  PRIMARY KEY (fee_level_id)
) DEFAULT CHARSET=utf8mb4;

-- Prices: one for every item, fee level and period, the latest without an end.
CREATE TABLE fee_schedule (
  fee_schedule_id INT           NOT NULL,
  fee_level_id    INT           NOT NULL,
  item_code       VARCHAR(20)   NOT NULL,  -- of an item
  fee             DECIMAL(12,2) NOT NULL,
  effective_from  DATE          NOT NULL,
  effective_to    DATE          NULL,      -- last day; the next period begins on the day after
  location_id     INT           NULL,      -- NULL: every location
  is_deleted      TINYINT       NOT NULL,
  ts_4_insert     DATETIME      NOT NULL,
  ts_4_update     DATETIME      NOT NULL,
  PRIMARY KEY (fee_schedule_id)
) DEFAULT CHARSET=utf8mb4;

-- 6 to 10: Cash, Cheque, EFTPOS, Visa, Mastercard, Direct Deposit, HICAPS (the funds' claims), ...
CREATE TABLE payment_type (
  payment_type_id INT          NOT NULL,
  payment_type    VARCHAR(100) NOT NULL,
  is_electronic   TINYINT      NOT NULL,  -- card or terminal
  is_active       TINYINT      NOT NULL,
  is_deleted      TINYINT      NOT NULL,
  ts_4_insert     DATETIME     NOT NULL,
  ts_4_update     DATETIME     NOT NULL,
  PRIMARY KEY (payment_type_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE payment_type
  ADD KEY payment_type_ts_4_update (ts_4_update);

-- 10 to 15, some with a parent.
CREATE TABLE item_category (
  item_category_id   INT          NOT NULL,
  category_name      VARCHAR(100) NOT NULL,
  parent_category_id INT          NULL,      -- an item_category_id
  is_active          TINYINT      NOT NULL,
  is_deleted         TINYINT      NOT NULL,
  ts_4_insert        DATETIME     NOT NULL,
  ts_4_update        DATETIME     NOT NULL,
  PRIMARY KEY (item_category_id)
) DEFAULT CHARSET=utf8mb4;

-- 60 to 120: the standard's numbers (011, 012, 114, 521, ...) and the practice's own.
CREATE TABLE item (
  item_id          INT           NOT NULL,
  item_code        VARCHAR(20)   NOT NULL,  -- differs from row to row
  ada_item         VARCHAR(10)   NULL,      -- three digits; NULL for the practice's own
  description      VARCHAR(200)  NOT NULL,
  item_category_id INT           NULL,
  default_fee      DECIMAL(12,2) NULL,
  non_treatment    TINYINT       NOT NULL,  -- not clinical: goods, fees
  non_reporting    TINYINT       NOT NULL,
  gst_applies      TINYINT       NOT NULL,  -- goods and cosmetic work; treatment is free of GST
  is_active        TINYINT       NOT NULL,
  is_deleted       TINYINT       NOT NULL,
  ts_4_insert      DATETIME      NOT NULL,
  ts_4_update      DATETIME      NOT NULL,
  PRIMARY KEY (item_id)
) DEFAULT CHARSET=utf8mb4;

-- 10 to 15, one of them named Laboratory.
CREATE TABLE expense_category (
  expense_category_id      INT          NOT NULL,
  name                     VARCHAR(100) NOT NULL,
  gst_percent              DECIMAL(7,4) NULL,
  cost_to_provider_percent DECIMAL(7,4) NULL,
  is_default               TINYINT      NOT NULL,
  is_active                TINYINT      NOT NULL,
  is_deleted               TINYINT      NOT NULL,
  ts_4_insert              DATETIME     NOT NULL,
  ts_4_update              DATETIME     NOT NULL,
  PRIMARY KEY (expense_category_id)
) DEFAULT CHARSET=utf8mb4;

-- Every practitioner that any row has: more with more patients.
CREATE TABLE practitioner (
  practitioner_id    INT          NOT NULL,
  practitioner_code  VARCHAR(10)  NOT NULL,
  title              VARCHAR(20)  NULL,
  first_name         VARCHAR(100) NOT NULL,
  surname            VARCHAR(100) NOT NULL,
  provider_number    VARCHAR(20)  NULL,
  profession         VARCHAR(100) NULL,
  commission_percent DECIMAL(7,4) NULL,
  location_id        INT          NOT NULL,  -- the main one
  is_active          TINYINT      NOT NULL,
  is_deleted         TINYINT      NOT NULL,
  ts_4_insert        DATETIME     NOT NULL,
  ts_4_update        DATETIME     NOT NULL,
  PRIMARY KEY (practitioner_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE practitioner
  ADD KEY practitioner_ts_4_update (ts_4_update);

-- 4 to 8.
CREATE TABLE user_role (
  user_role_id INT          NOT NULL,
  role_name    VARCHAR(100) NOT NULL,
  description  VARCHAR(200) NULL,
  is_active    TINYINT      NOT NULL,
  is_deleted   TINYINT      NOT NULL,
  ts_4_insert  DATETIME     NOT NULL,
  ts_4_update  DATETIME     NOT NULL,
  PRIMARY KEY (user_role_id)
) DEFAULT CHARSET=utf8mb4;

-- Who works with the software: the practitioners and about as many others. (Not
-- named user, which is a function in MySQL.)
CREATE TABLE practice_user (
  user_id         INT          NOT NULL,
  username        VARCHAR(100) NOT NULL,  -- differs from row to row
  first_name      VARCHAR(100) NULL,
  surname         VARCHAR(100) NULL,
  user_role_id    INT          NULL,
  practitioner_id INT          NULL,
  location_id     INT          NULL,
  is_active       TINYINT      NOT NULL,
  is_deleted      TINYINT      NOT NULL,
  ts_4_insert     DATETIME     NOT NULL,
  ts_4_update     DATETIME     NOT NULL,
  PRIMARY KEY (user_id)
) DEFAULT CHARSET=utf8mb4;

-- Every location that any row has: more with more patients.
CREATE TABLE location (
  location_id   INT          NOT NULL,
  location_name VARCHAR(100) NOT NULL,
  address1      VARCHAR(200) NULL,
  address2      VARCHAR(200) NULL,
  suburb        VARCHAR(100) NULL,
  state         VARCHAR(10)  NULL,
  postcode      VARCHAR(10)  NULL,
  phone         VARCHAR(30)  NULL,
  email         VARCHAR(255) NULL,
  time_zone     VARCHAR(40)  NULL,      -- e.g. Australia/Sydney
  is_active     TINYINT      NOT NULL,
  is_deleted    TINYINT      NOT NULL,
  ts_4_insert   DATETIME     NOT NULL,
  ts_4_update   DATETIME     NOT NULL,
  PRIMARY KEY (location_id)
) DEFAULT CHARSET=utf8mb4;

-- 30, the ones that patients have.
CREATE TABLE health_fund (
  health_fund_id   INT          NOT NULL,
  health_fund_name VARCHAR(100) NOT NULL,
  health_fund_code VARCHAR(10)  NULL,
  is_active        TINYINT      NOT NULL,
  is_deleted       TINYINT      NOT NULL,
  ts_4_insert      DATETIME     NOT NULL,
  ts_4_update      DATETIME     NOT NULL,
  PRIMARY KEY (health_fund_id)
) DEFAULT CHARSET=utf8mb4;

-- Who pays for others: 10 to 30 (insurers, government schemes, employers).
CREATE TABLE third_party (
  third_party_id   INT          NOT NULL,
  third_party_name VARCHAR(100) NOT NULL,
  address1         VARCHAR(200) NULL,
  suburb           VARCHAR(100) NULL,
  state            VARCHAR(10)  NULL,
  postcode         VARCHAR(10)  NULL,
  phone            VARCHAR(30)  NULL,
  email            VARCHAR(255) NULL,
  is_active        TINYINT      NOT NULL,
  is_deleted       TINYINT      NOT NULL,
  ts_4_insert      DATETIME     NOT NULL,
  ts_4_update      DATETIME     NOT NULL,
  PRIMARY KEY (third_party_id)
) DEFAULT CHARSET=utf8mb4;

-- 12, the ones that patients have.
CREATE TABLE referral_source (
  referral_source_id INT          NOT NULL,
  referral_source    VARCHAR(100) NOT NULL,
  referral_type      VARCHAR(40)  NULL,
  is_active          TINYINT      NOT NULL,
  is_deleted         TINYINT      NOT NULL,
  ts_4_insert        DATETIME     NOT NULL,
  ts_4_update        DATETIME     NOT NULL,
  PRIMARY KEY (referral_source_id)
) DEFAULT CHARSET=utf8mb4;

-- 2 to 4.
CREATE TABLE recall_set (
  recall_set_id INT          NOT NULL,
  recall_set    VARCHAR(100) NOT NULL,
  location_id   INT          NULL,
  is_automated  TINYINT      NOT NULL,
  is_active     TINYINT      NOT NULL,
  is_deleted    TINYINT      NOT NULL,
  ts_4_insert   DATETIME     NOT NULL,
  ts_4_update   DATETIME     NOT NULL,
  PRIMARY KEY (recall_set_id)
) DEFAULT CHARSET=utf8mb4;

-- 6 to 10.
CREATE TABLE recall_type (
  recall_type_id  INT          NOT NULL,
  recall_type     VARCHAR(100) NOT NULL,
  recall_set_id   INT          NULL,
  interval_months INT          NULL,
  reminder_order  INT          NULL,      -- step in the set; 1 is the first
  is_active       TINYINT      NOT NULL,
  is_deleted      TINYINT      NOT NULL,
  ts_4_insert     DATETIME     NOT NULL,
  ts_4_update     DATETIME     NOT NULL,
  PRIMARY KEY (recall_type_id)
) DEFAULT CHARSET=utf8mb4;

ALTER TABLE recall_type
  ADD KEY recall_type_ts_4_update (ts_4_update);
