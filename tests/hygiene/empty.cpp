// Compiled with one header of the library in front, to show that the header needs no other.
