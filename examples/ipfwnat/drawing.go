package main

import "io"

func (r *report) draw(w io.Writer) {}
