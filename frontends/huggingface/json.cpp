#include "frontends/huggingface/json.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace qwench::hf {
namespace {

constexpr int kMaxDepth = 64;

/// Watches nlohmann's parser for what it lets through: repeated keys and unbounded nesting.
class Watcher {
public:
  bool operator()(int depth, Json::parse_event_t event, Json &parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      tooDeep |= depth >= kMaxDepth;
      if (event == Event::object_start)
        keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key) {
      const std::string &key = parsed.get_ref<const std::string &>();
      if (!keys.back().insert(key).second && !repeated)
        repeated = key;
    }
    return true;
  }

  bool tooDeep = false;
  std::optional<std::string> repeated;

private:
  std::vector<std::set<std::string>> keys;
};

std::string position(std::string_view text, size_t byte) {
  size_t at = std::min(byte == 0 ? 0 : byte - 1, text.size());
  std::string_view before = text.substr(0, at);
  size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  size_t start = before.rfind('\n');
  size_t column = at - (start == std::string_view::npos ? 0 : start + 1) + 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

std::string systemError(const std::string &what, const std::string &path) {
  return "cannot " + what + " " + path + ": " + std::strerror(errno);
}

} // namespace

Result<Json> parseJson(std::string_view text, std::string_view where) {
  Watcher watcher;
  Json::parser_callback_t callback = [&watcher](int depth, Json::parse_event_t event, Json &parsed) {
    return watcher(depth, event, parsed);
  };
  try {
    Json json = Json::parse(text.begin(), text.end(), callback);
    if (watcher.tooDeep)
      return userError(std::string(where) + ": expected JSON nested at most " + std::to_string(kMaxDepth) +
                       " deep");
    if (watcher.repeated)
      return userError(std::string(where) + ": key " + show(*watcher.repeated) + " is given twice");
    return json;
  } catch (const Json::parse_error &e) {
    if (e.byte > text.size())
      return userError(std::string(where) + ": malformed JSON: unexpected end at " + position(text, e.byte));
    return userError(std::string(where) + ": malformed JSON at " + position(text, e.byte));
  } catch (const Json::exception &) {
    return userError(std::string(where) + ": malformed JSON: a number is out of range");
  }
}

Result<std::string> readTextFile(const std::string &path, uint64_t maxBytes) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return userError(systemError("open", path));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat info{};
  if (fstat(fd, &info) != 0)
    return userError(systemError("read", path));
  if (!S_ISREG(info.st_mode))
    return userError("expected a file, found something else at " + path);
  if (static_cast<uint64_t>(info.st_size) > maxBytes)
    return userError(path + ": expected at most " + std::to_string(maxBytes) + " bytes, found " +
                     std::to_string(info.st_size));
  std::string text(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    ssize_t got = ::read(fd, text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return userError(systemError("read", path));
    if (got == 0)
      break;
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

std::string show(const Json &value) {
  if (value.is_object())
    return "an object";
  if (value.is_array())
    return "a list of " + std::to_string(value.size());
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  constexpr size_t limit = 80;
  return text.size() <= limit ? text : text.substr(0, limit) + "...";
}

ObjectReader::ObjectReader(const Json &object, std::string_view where, std::string prefix)
    : object(object), where(where), prefix(std::move(prefix)) {
  if (object.is_object())
    return;
  std::string part = this->prefix.substr(0, this->prefix.empty() ? 0 : this->prefix.size() - 1);
  fail("expected " + (part.empty() ? "a JSON object" : part + " to be an object") + ", found " +
       show(object));
}

const Json *ObjectReader::value(const std::string &key) {
  read.insert(key);
  if (!object.is_object())
    return nullptr;
  auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

bool ObjectReader::has(const std::string &key) { return value(key) != nullptr; }

bool ObjectReader::isNull(const std::string &key) const {
  return object.is_object() && object.contains(key) && object.at(key).is_null();
}

int64_t ObjectReader::integer(const std::string &key, int64_t otherwise, int64_t low, int64_t high) {
  read.insert(key);
  if (!object.is_object() || !object.contains(key))
    return otherwise;
  const Json &found = object.at(key);
  bool fits = found.is_number_unsigned() ? found.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                                         : found.is_number_integer();
  if (fits && found.get<int64_t>() >= low && found.get<int64_t>() <= high)
    return found.get<int64_t>();
  failExpected(key, "to be an integer from " + std::to_string(low) + " to " + std::to_string(high), found);
  return otherwise;
}

std::optional<double> ObjectReader::optionalNumber(const std::string &key, double above, double high) {
  const Json *found = value(key);
  if (!found)
    return std::nullopt;
  if (found->is_number()) {
    double number = found->get<double>();
    if (number > above && number <= high)
      return number;
  }
  failExpected(key, "to be a number above " + show(above) + " and at most " + show(high), *found);
  return std::nullopt;
}

double ObjectReader::number(const std::string &key, double otherwise, double above, double high) {
  if (isNull(key))
    failExpected(key, "to be a number", object.at(key));
  return optionalNumber(key, above, high).value_or(otherwise);
}

bool ObjectReader::boolean(const std::string &key, bool otherwise) {
  const Json *found = value(key);
  if (!found)
    return otherwise;
  if (found->is_boolean())
    return found->get<bool>();
  failExpected(key, "to be true or false", *found);
  return otherwise;
}

std::optional<std::string> ObjectReader::string(const std::string &key) {
  const Json *found = value(key);
  if (!found)
    return std::nullopt;
  if (found->is_string())
    return found->get<std::string>();
  failExpected(key, "to be a string", *found);
  return std::nullopt;
}

void ObjectReader::fail(const std::string &message) {
  if (!error)
    error = userError(where + ": " + message);
}

void ObjectReader::failExpected(const std::string &key, const std::string &expected, const Json &found) {
  fail("expected " + name(key) + " " + expected + ", found " + show(found));
}

Status ObjectReader::status() const {
  if (error)
    return *error;
  return ok();
}

std::vector<std::string> ObjectReader::unread() const {
  std::vector<std::string> keys;
  if (object.is_object())
    for (const auto &[key, unused] : object.items())
      if (!read.contains(key))
        keys.push_back(key);
  return keys;
}

std::vector<int64_t> readTokenIds(ObjectReader &reader, const std::string &key, int64_t vocab,
                                  std::string_view where, std::vector<std::string> &warnings) {
  const Json *found = reader.value(key);
  if (!found)
    return {};
  std::vector<int64_t> ids;
  for (const Json &id : found->is_array() ? *found : Json::array({*found})) {
    if (!id.is_number_integer()) {
      reader.failExpected(key, "to be a token id or a list of token ids", id);
      return {};
    }
    bool inVocab = id.is_number_unsigned() ? id.get<uint64_t>() < static_cast<uint64_t>(vocab) : false;
    if (inVocab)
      ids.push_back(id.get<int64_t>());
    else
      warnings.push_back(std::string(where) + ": " + reader.name(key) + " " + show(id) +
                         " is outside the vocabulary of " + std::to_string(vocab) + " and ignored");
  }
  return ids;
}

} // namespace qwench::hf
