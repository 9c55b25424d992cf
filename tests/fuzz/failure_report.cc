#include "tests/fuzz/failure_report.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace longtake::fuzz {
namespace {

constexpr int kMostSeconds = 60;
constexpr long kMostGrowthKib = 256 << 10;  // NOLINT(google-runtime-int): getrusage's type

// What a signal's handler may read: it has no argument of ours.
const std::string* volatile input_name = nullptr;
const std::string* volatile input_bytes = nullptr;
long first_kib = 0;  // NOLINT(google-runtime-int)

void Print(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = write(STDERR_FILENO, text, size);
    if (n <= 0) return;
    text += n;
    size -= static_cast<size_t>(n);
  }
}
void Print(const char* text) { Print(text, std::strlen(text)); }

// Uses functions only that a signal's handler may call.
void PrintInput(const char* why) {
  Print("fuzz: ");
  Print(why);
  if (input_name == nullptr || input_bytes == nullptr) return Print(" before the first input\n");
  Print(" on ");
  Print(input_name->data(), input_name->size());
  Print("; its bytes, for `xxd -r -p`:\n");
  for (const char byte : *input_bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    const std::array<char, 2> digits = {kDigits[value >> 4], kDigits[value & 15]};
    Print(digits.data(), digits.size());
  }
  Print("\n");
}

extern "C" void OnSignal(int signal) {
  PrintInput(signal == SIGPROF ? "a minute of processor time has passed" : strsignal(signal));
  _exit(1);
}

#if defined(__SANITIZE_ADDRESS__)
void OnSanitizerReport() { PrintInput("the sanitizer reports"); }

// AddressSanitizer keeps 256 MiB of freed memory, which alone would be the growth that CheckMemory forbids.
extern "C" const char* __asan_default_options() { return "quarantine_size_mb=32"; }
#endif

long PeakKib() {  // NOLINT(google-runtime-int)
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

void ReportFailures() {
  // A stack that has overflowed cannot hold the handler's frame.
  static std::vector<char> stack(64 << 10);
  const stack_t other = {.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
  sigaltstack(&other, nullptr);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_ONSTACK;
  for (const int signal : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGPROF, SIGSEGV}) sigaction(signal, &action, nullptr);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(OnSanitizerReport);
#endif
  first_kib = PeakKib();
}

void SetInput(const std::string& name, const std::string& bytes) {
  input_name = &name;
  input_bytes = &bytes;
  const itimerval limit = {.it_interval = {}, .it_value = {.tv_sec = kMostSeconds, .tv_usec = 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
}

void CheckMemory() {
  if (PeakKib() - first_kib <= kMostGrowthKib) return;
  PrintInput("memory has grown by more than 256 MiB");
  _exit(1);
}

}  // namespace longtake::fuzz
