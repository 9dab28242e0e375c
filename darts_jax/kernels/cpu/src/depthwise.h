// Depthwise convolution: from the image, back to the image, and by the kernel.
//
// Rows of pixels are cut into vectors regardless of where pixels end (`Lanes`), so that any
// number of channels fills them. An output row is the sum, over taps, of a shifted input
// row times the tap's numbers, kept in registers for several vectors at a time.
#pragma once

#include <array>

#include "parallel.h"
#include "window.h"

namespace darts {

// A row of pixels, the vectors [tap across, kind, lane] that it is multiplied by, and how
// those change along tangents.
template <class T>
struct TapRow {
  const T* pixels;
  const T* taps;
  const T* taps_change;
};

// Where the taps across find their pixels in a row, and their vectors.
struct TapColumn {
  int64_t pixel, tap;
};

// A sum of rows: every row of taps at every tap across.
template <class T>
class RowSum {
 public:
  void clear() { count_ = 0; }

  // Number by number: a pair that passes through memory is waited for at every row.
  void add(const T* pixels, const T* taps, const T* taps_change) {
    if (count_ == rows_.size()) rows_.resize(2 * count_ + 8);
    TapRow<T>& row = rows_[count_++];
    row.pixels = pixels;
    row.taps = taps;
    row.taps_change = taps_change;
  }

  const TapRow<T>* begin() const { return rows_.data(); }
  const TapRow<T>* end() const { return rows_.data() + count_; }

  const std::vector<TapColumn>* columns = nullptr;
  int64_t apart = 0;  // how far behind its row that row's change lies

 private:
  std::vector<TapRow<T>> rows_;
  size_t count_ = 0;
};

template <class T, int BLOCK>
void store_block(const Vec<T, kLanes<T>> (&sums)[BLOCK], T* out, int64_t begin,
                 int64_t period, int64_t size) {
#pragma GCC unroll 8
  for (int b = 0; b < BLOCK; ++b) {
    const int64_t at = begin + b * period;
    store_part<T, kLanes<T>>(out + at, sums[b], size - at);
  }
}

template <class T, int BLOCK>
void sum_block(const RowSum<T>& sum, int64_t begin, int64_t kind, int64_t period,
               int64_t size, const std::array<T*, 1>& out) {
  constexpr int V = kLanes<T>;
  const TapColumn* columns = sum.columns->data();
  const int64_t count = sum.columns->size();
  Vec<T, V> sums[BLOCK] = {};
  for (const TapRow<T>& row : sum) {
    const T* pixels = row.pixels + begin;
    const T* taps = row.taps + kind;
    for (int64_t c = 0; c < count; ++c) {
      const T* seen = pixels + columns[c].pixel;
      const Vec<T, V> tap = load<T, V>(taps + columns[c].tap);
#pragma GCC unroll 8
      for (int b = 0; b < BLOCK; ++b) sums[b] += load<T, V>(seen + b * period) * tap;
    }
  }
  store_block<T>(sums, out[0], begin, period, size);
}

// A sum and its change: every number that is read serves both.
template <class T, int BLOCK>
void sum_block(const RowSum<T>& sum, int64_t begin, int64_t kind, int64_t period,
               int64_t size, const std::array<T*, 2>& out) {
  constexpr int V = kLanes<T>;
  const TapColumn* columns = sum.columns->data();
  const int64_t count = sum.columns->size(), apart = sum.apart;
  Vec<T, V> sums[BLOCK] = {}, changes[BLOCK] = {};
  for (const TapRow<T>& row : sum) {
    const T* pixels = row.pixels + begin;
    const T *taps = row.taps + kind, *taps_change = row.taps_change + kind;
    for (int64_t c = 0; c < count; ++c) {
      const T* seen = pixels + columns[c].pixel;
      const Vec<T, V> tap = load<T, V>(taps + columns[c].tap);
      const Vec<T, V> tap_change = load<T, V>(taps_change + columns[c].tap);
#pragma GCC unroll 8
      for (int b = 0; b < BLOCK; ++b) {
        const Vec<T, V> pixel = load<T, V>(seen);
        sums[b] += pixel * tap;
        changes[b] += pixel * tap_change;
        changes[b] += load<T, V>(seen + apart) * tap;
        seen += period;
        asm("" : "+r"(seen));  // an address for each would be more than there are registers
      }
    }
  }
  store_block<T>(sums, out[0], begin, period, size);
  store_block<T>(changes, out[1], begin, period, size);
}

// The sum in f of [0, size) of a row; or that and its change.
template <class T, size_t N>
void sum_row(const RowSum<T>& sum, const Lanes& lanes, int64_t size,
             const std::array<T*, N>& out) {
  const int64_t period = lanes.period;
  for (int64_t kind = 0; kind < period; kind += lanes.lanes) {
    int64_t f = kind;
    for (; f + 7 * period < size; f += 8 * period)
      sum_block<T, 8>(sum, f, kind, period, size, out);
    if (f + 3 * period < size) {
      sum_block<T, 4>(sum, f, kind, period, size, out);
      f += 4 * period;
    }
    for (; f < size; f += period) sum_block<T, 1>(sum, f, kind, period, size, out);
  }
}

template <class T>
std::vector<TapColumn> columns_of(const Phase& across, const Ring<T>& rows,
                                  const Lanes& lanes) {
  std::vector<TapColumn> columns;
  for (const Tap& tap : across.taps)
    columns.push_back({rows.offset(tap.offset), tap.number * lanes.period});
  return columns;
}

// Taps [tap down, tap across, kind, lane], and how they change along tangents.
template <class T>
struct Taps {
  const T* itself;
  const T* change = nullptr;
};

// Adds to a sum the rows that position r of a phase down sees; `stride` is from one row of
// taps to the next.
template <class T, class Source>
void see(const Phase& down, int64_t r, Source& rows, const Taps<T>& taps, int64_t stride,
         RowSum<T>& sum) {
  for (const Tap& tap : down.taps) {
    const int64_t row = r * down.step + tap.offset, at = tap.number * stride;
    if (rows.inside(row))
      sum.add(rows.row(row), taps.itself + at, taps.change ? taps.change + at : nullptr);
  }
}

// Images of the result, phase by phase: each the sum over so many sources of rows.
template <class T, class Source>
class DepthwiseMap {
 public:
  // A source has rows of so many `images` of one size: of what is read, and of its change.
  DepthwiseMap(int64_t sources, int64_t images, Size size, const std::vector<Phase>& down,
               const std::vector<Phase>& across, int64_t kernel_width, const Lanes& lanes,
               int64_t to_width)
      : down_(down),
        across_(across),
        lanes_(lanes),
        stride_(kernel_width * lanes.period),
        width_(to_width),
        taps_(sources),
        between_(across[0].spacing > 1 ? images * to_width * lanes.channels : 0) {
    for (int64_t i = 0; i < sources; ++i)
      sources_.emplace_back(size, down, across, lanes, images);
    for (const Phase& j : across) columns_.push_back(columns_of(j, sources_[0], lanes));
    sum_.apart = sources_[0].apart();
  }

  // A source, which is to begin; it is multiplied by these taps.
  Source& from(int64_t source, const Taps<T>& taps) {
    taps_[source] = taps;
    return sources_[source];
  }

  // The image; or that and its change. Numbers whose gate is not positive become zeros.
  template <size_t N>
  void image(const std::array<T*, N>& to, const T* gate = nullptr) {
    const int64_t size = width_ * lanes_.channels;
    for (const Phase& i : down_)
      for (int64_t r = 0; r < i.count; ++r) {
        const int64_t begin = (i.origin + r * i.spacing) * size;
        std::array<T*, N> row;
        for (size_t k = 0; k < N; ++k) row[k] = to[k] + begin;
        sum_.clear();
        for (size_t k = 0; k < sources_.size(); ++k)
          see(i, r, sources_[k], taps_[k], stride_, sum_);
        for (size_t j = 0; j < across_.size(); ++j) columns(j, row);
        for (size_t k = 0; gate && k < N; ++k)
          copy_gated(row[k], gate + begin, size, row[k]);
      }
  }

 private:
  // Those of a row that the taps of phase j give.
  template <size_t N>
  void columns(size_t j, const std::array<T*, N>& row) {
    const Phase& across = across_[j];
    const int64_t c = lanes_.channels;
    sum_.columns = &columns_[j];
    if (across.spacing == 1) return sum_row(sum_, lanes_, across.count * c, row);
    std::array<T*, N> close;
    for (size_t k = 0; k < N; ++k) close[k] = between_.get() + k * width_ * c;
    sum_row(sum_, lanes_, across.count * c, close);
    for (size_t k = 0; k < N; ++k)
      for (int64_t p = 0; p < across.count; ++p)
        std::memcpy(row[k] + (across.origin + p * across.spacing) * c, close[k] + p * c,
                    c * sizeof(T));
  }

  const std::vector<Phase>&down_, &across_;
  const Lanes lanes_;
  const int64_t stride_, width_;
  std::vector<Source> sources_;
  std::vector<Taps<T>> taps_;
  std::vector<std::vector<TapColumn>> columns_;
  RowSum<T> sum_;
  Buffer<T> between_;
};

// x [edge, batch, height, width, channel], kernel [edge, *taps, channel].
template <class T>
void depthwise(xla::ffi::ThreadPool& pool, const T* x, const T* kernel, int64_t edges,
               int64_t batch, int64_t channels, const Window& window, bool backward,
               T* result) {
  const auto phases = backward ? backward_phases : forward_phases;
  const auto down = phases(window.down), across = phases(window.across);
  const Size image{window.down.image, window.across.image};
  const Size output{window.down.output, window.across.output};
  const Size from = backward ? output : image, to = backward ? image : output;
  const Lanes lanes(channels, kLanes<T>);
  const Buffer<T> taps = lanes.spread(kernel, edges * window.taps());
  const auto make = [&] {
    return DepthwiseMap<T, Rows<T>>(1, 1, from, down, across, window.across.kernel, lanes,
                                    to.width);
  };
  parallel_for(pool, edges * batch, make, [&](auto& map, int64_t i) {
    map.from(0, {taps.get() + i / batch * window.taps() * lanes.period})
        .begin(x + i * from.height * from.width * channels);
    map.image(std::array{result + i * to.height * to.width * channels});
  });
}

// sums[t] += row of tap t times y, over the vectors of one kind.
template <class T, int TAPS>
void correlate(const T* const* rows, const T* y, int64_t kind, int64_t period,
               int64_t size, T* sums) {
  constexpr int V = kLanes<T>;
  const T* row[TAPS];
  Vec<T, V> partial[TAPS];
#pragma GCC unroll 16
  for (int t = 0; t < TAPS; ++t) {
    row[t] = rows[t];
    partial[t] = load<T, V>(sums + kind + t * period);
  }
  for (int64_t f = kind; f < size; f += period) {
    const Vec<T, V> seen = load<T, V>(y + f);
#pragma GCC unroll 16
    for (int t = 0; t < TAPS; ++t) partial[t] += load<T, V>(row[t] + f) * seen;
  }
#pragma GCC unroll 16
  for (int t = 0; t < TAPS; ++t) store<T, V>(sums + kind + t * period, partial[t]);
}

template <class T>
void correlate_some(const T* const* rows, int64_t count, const T* y, int64_t kind,
                    int64_t period, int64_t size, T* sums) {
#define DARTS_CASE(n) \
  case n:             \
    return correlate<T, n>(rows, y, kind, period, size, sums)
  switch (count) {
    DARTS_CASE(1);
    DARTS_CASE(2);
    DARTS_CASE(3);
    DARTS_CASE(4);
    DARTS_CASE(5);
    DARTS_CASE(6);
    DARTS_CASE(7);
    DARTS_CASE(8);
    DARTS_CASE(9);
    DARTS_CASE(10);
    DARTS_CASE(11);
    DARTS_CASE(12);
    DARTS_CASE(13);
  }
#undef DARTS_CASE
}

constexpr int64_t kTapsAtOnce = 13;

// What is read of x for every tap of a row, and how it is added up with a row of y.
template <class T>
class Correlation {
 public:
  Correlation(const Window& window, const Lanes& lanes)
      : window_(window),
        lanes_(lanes),
        down_(forward_phases(window.down)[0]),
        across_(forward_phases(window.across)[0]),
        rows_({window.down.image, window.across.image}, {down_}, {across_}, lanes),
        columns_(columns_of(across_, rows_, lanes)),
        zeros_(rows_.apart()),
        whole_y_(round_up(window.across.output * lanes.channels, lanes.period)),
        seen_(window.taps()) {}

  Rows<T>& rows() { return rows_; }

  // Adds row r of the outputs to sums [tap, kind, lane].
  void add(int64_t r, const T* y, T* sums) {
    const int64_t size = window_.across.output * lanes_.channels;
    const T** seen = seen_.data();
    for (const Tap& i : down_.taps) {
      const int64_t row = r * down_.step + i.offset;
      const T* data = rows_.inside(row) ? rows_.row(row) : zeros_.get();
      for (const TapColumn& j : columns_) *seen++ = data + j.pixel;
    }
    if (size % lanes_.period) {
      std::memcpy(whole_y_.get(), y, size * sizeof(T));
      y = whole_y_.get();
    }
    for (int64_t kind = 0; kind < lanes_.period; kind += lanes_.lanes)
      for (int64_t t = 0; t < window_.taps(); t += kTapsAtOnce)
        correlate_some<T>(seen_.data() + t, std::min(kTapsAtOnce, window_.taps() - t), y,
                          kind, lanes_.period, size, sums + t * lanes_.period);
  }

 private:
  const Window window_;
  const Lanes lanes_;
  const Phase down_, across_;
  Rows<T> rows_;
  const std::vector<TapColumn> columns_;
  Buffer<T> zeros_, whole_y_;
  std::vector<const T*> seen_;
};

template <class T>
void depthwise_kernel(xla::ffi::ThreadPool& pool, const T* x, const T* y, int64_t edges,
                      int64_t batch, int64_t channels, const Window& window, T* result) {
  const Lanes lanes(channels, kLanes<T>);
  const int64_t parts = std::min(batch, kParts), taps = window.taps();
  const int64_t image = window.down.image * window.across.image * channels;
  const int64_t row = window.across.output * channels;
  Buffer<T> sums(edges * parts * taps * lanes.period);
  parallel_for(pool, edges * parts, [&](int64_t p) {
    const int64_t edge = p / parts, part = p % parts;
    Correlation<T> correlation(window, lanes);
    for (int64_t n = part * batch / parts; n < (part + 1) * batch / parts; ++n) {
      correlation.rows().begin(x + (edge * batch + n) * image);
      for (int64_t r = 0; r < window.down.output; ++r)
        correlation.add(r, y + ((edge * batch + n) * window.down.output + r) * row,
                        sums.get() + p * taps * lanes.period);
    }
  });
  std::fill_n(result, edges * taps * channels, T(0));
  for (int64_t p = 0; p < edges * parts; ++p)
    lanes.gather(sums.get() + p * taps * lanes.period, taps,
                 result + p / parts * taps * channels);
}

}  // namespace darts
