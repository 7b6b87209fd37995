# Our files as Doxygen is to read them: awk -v root=<repository> -f docs_filter.awk <file>. Lines stay lines.
#
# Headers: what Doxygen would take for a command, HTML or a link is escaped outside `code`, and the sentences above
# #pragma once describe the file. Documents: headings get the anchors that GitHub gives them, with the document's name
# before them, and links between documents lead there; links to what is no document become plain text.

function escaped(text,   parts, count, i, result) {
  count = split(text, parts, "`")
  for (i = 1; i <= count; ++i) {
    if (i % 2 == 1) gsub(/[<>@#\\%&]|::/, "\\\\&", parts[i])
    result = result (i > 1 ? "`" : "") parts[i]
  }
  return result
}

# The page of a document, from its path: include/moe/README.md is include_moe_README_md.
function page_of(path) {
  gsub(/[^A-Za-z0-9]/, "_", path)
  return path
}

function anchor_of(heading) {
  heading = tolower(heading)
  gsub(/[^a-z0-9 _-]/, "", heading)
  gsub(/ /, "-", heading)
  return heading
}

# A path from this document's folder, as one from the root: a/b/../c is a/c.
function resolved(target,   path) {
  path = folder target
  while (match(path, /[^\/]+\/\.\.\//)) path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
  return path
}

function linked(text, target,   hash, path, anchor) {
  if (target ~ /^https?:/) return "[" text "](" target ")"
  hash = index(target, "#")
  path = hash ? substr(target, 1, hash - 1) : target
  anchor = hash ? "-" substr(target, hash + 1) : ""
  path = path == "" ? own : resolved(path)
  return path ~ /\.md$/ && path !~ /^(tests|examples\/data)\// ? "[" text "](#" page_of(path) anchor ")" : text
}

function with_links(line,   done, start, size, text, at) {
  done = ""
  while (match(line, /\[[^][]*\]\([^()]*\)/)) {
    start = RSTART
    size = RLENGTH
    text = substr(line, start + 1, size - 2)
    at = index(text, "](")
    if (start > 1 && substr(line, start - 1, 1) == "!")
      done = done substr(line, 1, start + size - 1)
    else
      done = done substr(line, 1, start - 1) linked(substr(text, 1, at - 1), substr(text, at + 2))
    line = substr(line, start + size)
  }
  return done line
}

FNR == 1 {
  own = FILENAME
  if (index(own, root "/") == 1) own = substr(own, length(root) + 2)
  folder = own
  sub(/[^\/]*$/, "", folder)
  is_document = own ~ /\.md$/
  top = 1
}

is_document && /^```/ { in_code = !in_code }
is_document && (in_code || /^```/) { print; next }
is_document && /^#+ / {
  heading = $0
  sub(/^#+ +/, "", heading)
  print $0 " {#" page_of(own) (FNR == 1 ? "" : "-" anchor_of(heading)) "}"
  next
}
is_document {
  line = line (line == "" ? "" : "\n") $0
  if (line ~ /\[[^][]*$/ && $0 != "") next  # a link goes on in the next line
  gsub(/`::/, "`", line)
  print with_links(line)
  line = ""
  next
}

top && /^#pragma once/ { print "/// \\file"; top = 0; next }
top && /^\/\// { sub(/^\/\/ ?/, ""); print "/// " escaped($0); next }
{
  top = 0
  at = index($0, "///")
  if (at == 0) { print; next }
  mark = substr($0, at, 4) == "///<" ? 4 : 3
  print substr($0, 1, at + mark - 1) escaped(substr($0, at + mark))
}
