// The geometry of a sliding window, and the rows that it sees.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "vectors.h"

namespace darts {

struct Axis {
  int64_t image, kernel, stride, dilation, padding, output;
};

struct Window {
  Axis down, across;

  int64_t taps() const { return down.kernel * across.kernel; }
  int64_t pixels() const { return down.image * across.image; }
  int64_t outputs() const { return down.output * across.output; }
};

// A tap of one axis: at position p of what is computed it reads p * step + offset.
struct Tap {
  int64_t number, offset;
};

// What is computed on one axis: `count` positions `origin + p * spacing`, each from
// `taps`, which read the other side at p * step + offset.
struct Phase {
  int64_t origin, spacing, count, step;
  std::vector<Tap> taps;
};

// From the image to the outputs: one phase.
inline std::vector<Phase> forward_phases(const Axis& axis) {
  Phase phase{0, 1, axis.output, axis.stride, {}};
  for (int64_t k = 0; k < axis.kernel; ++k)
    phase.taps.push_back({k, k * axis.dilation - axis.padding});
  return {phase};
}

// From the outputs back to the image: pixels that are a stride apart are seen by the same
// taps, so that no work is spent on gaps between outputs.
inline std::vector<Phase> backward_phases(const Axis& axis) {
  std::vector<Phase> phases;
  for (int64_t p = 0; p < std::min(axis.stride, axis.image); ++p) {
    Phase phase{p, axis.stride, (axis.image - p + axis.stride - 1) / axis.stride, 1, {}};
    for (int64_t k = 0; k < axis.kernel; ++k) {
      const int64_t shift = p + axis.padding - k * axis.dilation;
      if (shift % axis.stride == 0) phase.taps.push_back({k, shift / axis.stride});
    }
    phases.push_back(phase);
  }
  return phases;
}

// How far the taps of all phases reach beyond a row of `size` pixels.
struct Margin {
  int64_t before = 0, behind = 0;

  Margin(const std::vector<Phase>& phases, int64_t size) {
    for (const Phase& phase : phases)
      for (const Tap& tap : phase.taps) {
        before = std::max(before, -tap.offset);
        behind = std::max(behind, (phase.count - 1) * phase.step + tap.offset + 1 - size);
      }
  }
};

// How many rows the taps of any position lie apart.
inline int64_t rows_held(const std::vector<Phase>& phases) {
  int64_t first = 0, last = 0;
  for (const Phase& phase : phases)
    for (const Tap& tap : phase.taps) {
      first = std::min(first, tap.offset);
      last = std::max(last, tap.offset);
    }
  return last - first + 1;
}

struct Size {
  int64_t height, width;
};

// Rows with zeros beside them, made when they are first asked for: a ring, so that those in
// use stay in the nearest cache. Of several images of one size, they lie `apart` behind
// each other. Where columns are read `stride` apart, those of one remainder lie together.
template <class T>
class Ring {
 public:
  // `held` rows at least are kept; `slack` numbers behind a row, zeros, may be read.
  Ring(int64_t height, int64_t width, int64_t channels, Margin margin, int64_t stride,
       int64_t held, int64_t slack, int64_t images = 1)
      : height_(height),
        width_(width),
        channels_(channels),
        before_(margin.before),
        stride_(stride),
        mask_(power_of_two(held) - 1),
        part_((margin.before + width + margin.behind + stride - 1) / stride * channels),
        length_(round_up(stride * part_ + slack, 64)),
        images_(images),
        data_((mask_ + 1) * images * length_),
        holds_(mask_ + 1, -1) {}

  // For a sum over phases down and across, as vectors.
  Ring(Size size, const std::vector<Phase>& down, const std::vector<Phase>& across,
       const Lanes& lanes, int64_t images = 1)
      : Ring(size.height, size.width, lanes.channels, Margin(across, size.width),
             across[0].step, rows_held(down), lanes.lanes, images) {}

  bool inside(int64_t row) const { return row >= 0 && row < height_; }

  // Where in a row a column lies; those that follow at the stride lie behind it.
  int64_t offset(int64_t column) const {
    const int64_t place = column + before_;
    if (stride_ == 1) return place * channels_;
    return place % stride_ * part_ + place / stride_ * channels_;
  }

  int64_t apart() const { return length_; }

 protected:
  void forget() { std::fill(holds_.begin(), holds_.end(), -1); }

  // A row, from its first column before the margin on. Those not held are made by
  // fill(where they lie), which leaves margins as they are.
  template <class Fill>
  const T* held(int64_t row, const Fill& fill) {
    const int64_t slot = row & mask_;
    T* data = data_.get() + slot * images_ * length_;
    if (holds_[slot] != row) {
      fill(data);
      holds_[slot] = row;
    }
    return data;
  }

  const int64_t height_, width_, channels_, before_, stride_;

 private:
  static int64_t power_of_two(int64_t n) {
    int64_t power = 1;
    while (power < n) power *= 2;
    return power;
  }

  const int64_t mask_, part_, length_, images_;
  Buffer<T> data_;
  std::vector<int64_t> holds_;
};

// Rows copied from an image, or from two.
template <class T>
class Rows : public Ring<T> {
 public:
  using Ring<T>::Ring;

  // Takes an image; numbers whose gate is not positive count as zeros.
  void begin(const T* image, const T* gate = nullptr) { begin(image, nullptr, gate); }
  void begin(const T* image, const T* second, const T* gate) {
    image_ = image;
    second_ = second;
    gate_ = gate;
    this->forget();
  }

  const T* row(int64_t row) {
    return this->held(row, [&](T* to) {
      const int64_t size = this->width_ * this->channels_;
      copy(image_, row * size, size, to);
      if (second_) copy(second_, row * size, size, to + this->apart());
    });
  }

 private:
  void copy(const T* image, int64_t from, int64_t size, T* to) const {
    prefetch(image + from + 2 * size, size);  // or of the image that follows
    if (this->stride_ == 1) return copy_numbers(image, from, size, to + this->offset(0));
    for (int64_t c = 0; c < this->width_; ++c)
      copy_numbers(image, from + c * this->channels_, this->channels_,
                   to + this->offset(c));
  }

  void copy_numbers(const T* image, int64_t from, int64_t count, T* to) const {
    if (gate_) return copy_gated(image + from, gate_ + from, count, to);
    std::memcpy(to, image + from, count * sizeof(T));
  }

  const T *image_ = nullptr, *second_ = nullptr, *gate_ = nullptr;
};

// An image of an edge's outputs, and the image that it is made of, by their numbers.
struct Place {
  int64_t edge, image, output;
};

// Edges, of which groups of `sharing` neighbours read the same images.
struct Edges {
  int64_t count, sharing;

  int64_t groups() const { return count / sharing; }

  // Of the i-th piece of work, where those who read one image follow each other, so that
  // they find it in the nearest caches.
  Place place(int64_t i, int64_t batch) const {
    const int64_t image = i / sharing;
    const int64_t edge = image / batch * sharing + i % sharing;
    return {edge, image, edge * batch + image % batch};
  }
};

// Images are added up in parts, and the parts in their order: the same on any number of
// threads.
constexpr int64_t kParts = 8;

}  // namespace darts
