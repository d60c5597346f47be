// Errors as values, shared by every room. Library code returns Result and never prints; only a main prints.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace qwench {

/// What went wrong, in one line: what, expected, found, where.
struct Error {
  /// Whose fault it is: the user's (exit code 1) or ours (exit code 2).
  enum class Fault { User, Internal };

  std::string message;
  Fault fault = Fault::User;
};

/// Control characters of a message as \xNN: what it quotes from a file can break neither its line nor a terminal.
inline std::string asOneLine(const std::string &message) {
  std::string line;
  for (unsigned char c : message)
    if (c < 0x20 || c == 0x7f)
      line += std::string("\\x") + "0123456789abcdef"[c >> 4] + "0123456789abcdef"[c & 15];
    else
      line += static_cast<char>(c);
  return line;
}

inline Error userError(const std::string &message) { return {asOneLine(message), Error::Fault::User}; }
inline Error internalError(const std::string &message) { return {asOneLine(message), Error::Fault::Internal}; }

/// Either a value or an Error. Test it before use: `if (!r) return r.takeError();`.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : state(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state.index() == 0; }
  T &operator*() { return std::get<0>(state); }
  const T &operator*() const { return std::get<0>(state); }
  T *operator->() { return &std::get<0>(state); }
  const T *operator->() const { return &std::get<0>(state); }
  T take() { return std::move(std::get<0>(state)); }
  const Error &error() const { return std::get<1>(state); }
  Error takeError() { return std::move(std::get<1>(state)); }

private:
  std::variant<T, Error> state;
};

struct Unit {};

/// A Result that carries nothing but success.
using Status = Result<Unit>;
inline Status ok() { return Unit{}; }

} // namespace qwench
