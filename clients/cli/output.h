// Where a video's bytes go while they arrive.
#ifndef LONGTAKE_CLIENTS_CLI_OUTPUT_H_
#define LONGTAKE_CLIENTS_CLI_OUTPUT_H_

#include <string>

namespace longtake::client {

// A file, or standard output for "-". What was written can be read at once. After the first error nothing more is
// written.
class Output {
 public:
  explicit Output(std::string path) : path_(std::move(path)) {}
  ~Output() { Close(); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Empties the file, or makes it.
  void Open();
  void Write(const std::string& bytes);
  // A disk may say only now that it is full.
  void Close();

  bool to_stdout() const { return path_ == "-"; }
  // What went wrong, as "cannot write a.mp4: No space left on device"; empty: nothing.
  const std::string& error() const { return error_; }

 private:
  void Fail();  // by errno

  const std::string path_;
  int file_ = -1;
  std::string error_;
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_OUTPUT_H_
