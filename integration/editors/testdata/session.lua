-- What a person does in the editor, with the settings as printed: looks at what is wrong, has it fixed, completes, reads,
-- and jumps. What was seen is written as JSON to the file that SEEN names. Every wait ends as soon as what is waited for
-- is there; what does not come within its time is missing in what was seen.
local seen = {}
local patience = 30000 -- milliseconds

local function await(what, condition)
  if not vim.wait(patience, condition, 10) then
    seen.missing = what
  end
  return seen.missing == nil
end

local function finish()
  local file = io.open(os.getenv("SEEN"), "w")
  file:write(vim.fn.json_encode(seen))
  file:close()
  vim.cmd("qa!")
end

local function line(number) return vim.api.nvim_buf_get_lines(0, number, number + 1, false)[1] end

-- go puts the cursor on text of a line.
local function go(number, text, further)
  vim.api.nvim_win_set_cursor(0, { number + 1, line(number):find(text, 1, true) - 1 + (further or 0) })
end

local function find(text)
  for number, content in ipairs(vim.api.nvim_buf_get_lines(0, 0, -1, false)) do
    if content:find(text, 1, true) then return number - 1 end
  end
end

local function session()
  if not await("diagnostics", function() return #vim.diagnostic.get(0) > 0 end) then return end
  local first = vim.diagnostic.get(0)[1]
  seen.diagnostic = { message = first.message, line = first.lnum, column = first.col, finish = first.end_col, count = #vim.diagnostic.get(0) }

  -- The first action that is offered where the problem is.
  vim.ui.select = function(items, _, choose) choose(items[1], 1) end
  go(first.lnum, "claas")
  vim.lsp.buf.code_action()
  if not await("code action", function() return line(first.lnum):find("class", 1, true) ~= nil end) then return end
  seen.fixed = line(first.lnum)
  if not await("no diagnostics", function() return #vim.diagnostic.get(0) == 0 end) then return end

  -- A setting, in a line that is being typed: the text is no YAML now.
  local with = find("with:")
  vim.api.nvim_buf_set_lines(0, with + 2, with + 2, false, { '        args: ["${params.' })
  vim.api.nvim_win_set_cursor(0, { with + 3, #line(with + 2) })
  local params = vim.lsp.util.make_position_params()
  params.position.character = #line(with + 2)
  local answers = vim.lsp.buf_request_sync(0, "textDocument/completion", params, patience) or {}
  seen.completed = {}
  for _, answer in pairs(answers) do
    for _, item in ipairs(vim.lsp.util.text_document_completion_list_to_complete_items(answer.result or {}, "params.from")) do
      table.insert(seen.completed, item.word)
    end
  end
  vim.api.nvim_buf_set_lines(0, with + 2, with + 3, false, { '        args: ["${params.from_date}", "${params.to_date}", "${params.date_modifier}"]' })

  -- The documentation of what is under the cursor, in a window of its own.
  go(find("use:"), "mysql", 1)
  vim.lsp.buf.hover()
  local window
  local shown = await("hover", function()
    for _, candidate in ipairs(vim.api.nvim_list_wins()) do
      if vim.api.nvim_win_get_config(candidate).relative ~= "" then window = candidate end
    end
    return window ~= nil
  end)
  if not shown then return end
  seen.hover = table.concat(vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(window), 0, -1, false), "\n")
  vim.api.nvim_win_close(window, true)

  -- Where the parameter is declared: in a template of the catalogue, which is no file.
  go(with + 2, "params.from_date", 8)
  vim.cmd("silent! write")
  vim.lsp.buf.definition()
  if not await("definition", function() return vim.api.nvim_buf_get_name(0):find("data.yaml", 1, true) ~= nil end) then return end
  seen.declared = line(vim.api.nvim_win_get_cursor(0)[1] - 1)
end

local ok, problem = pcall(session)
if not ok then seen.missing = problem end
finish()
